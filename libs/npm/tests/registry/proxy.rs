//! Proxies as npm's settings and the environment name them.

use std::{
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use packline_npm::{Client, Kind};

use crate::{
    put::document,
    stand::{Asked, SOON, Stand, answer, client, head, nobody, pump, settings},
    tls::Authority,
};

/// A proxy that tunnels to where it is asked, or refuses with this status.
struct Tunnel {
    url: String,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Tunnel {
    fn new(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let noted = Arc::clone(&noted);
                thread::spawn(move || tunnel(stream, status, &noted));
            }
        });
        Self { url, seen }
    }
}

fn tunnel(stream: TcpStream, status: u16, seen: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let asked = head(&mut reader)?;
    let to = asked.target.clone();
    seen.lock().unwrap().push(asked);
    (&stream).write_all(format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    if status == 200 {
        pump(stream, TcpStream::connect(to)?);
    }
    Ok(())
}

#[tokio::test]
async fn a_registry_over_tls_is_reached_through_a_tunnel() {
    let authority = Authority::new();
    let registry = Stand::with_tls(authority.server(false), |_| answer(404, &[], ""));
    let tunnel = Tunnel::new(200);
    let proxy = tunnel.url.replacen("//", "//user:pa%20ss@", 1);
    let user = format!("ca={:?}\n", authority.pem());
    for (user, variables) in [
        (format!("{user}https-proxy={proxy}"), &[][..]),
        (format!("{user}proxy={proxy}"), &[][..]),
        (user.clone(), &[("HTTPS_PROXY", proxy.as_str())][..]),
    ] {
        let access = settings(&user, variables).access(&registry.url).unwrap().with_token("s3cret");
        assert_eq!(client(&access).look("x", SOON).await, Ok(None));
        let asked = tunnel.seen.lock().unwrap().pop().unwrap();
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("CONNECT", &registry.url["https://".len()..]));
        assert_eq!(asked.header("proxy-authorization"), Some("Basic dXNlcjpwYSBzcw=="));
        assert_eq!(asked.header("authorization"), None, "the token is for the registry");
        assert_eq!(registry.seen().last().unwrap().header("authorization"), Some("Bearer s3cret"));
    }
    let direct = settings(&format!("{user}https-proxy={proxy}\nnoproxy=127.0.0.1"), &[]);
    assert_eq!(client(&direct.access(&registry.url).unwrap()).look("x", SOON).await, Ok(None));
    assert!(tunnel.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_plain_registry_is_asked_for_by_its_whole_address() {
    let proxy = Stand::new(|_| answer(404, &[], ""));
    let with_login = proxy.url.replacen("//", "//user:pass@", 1);
    let settings = settings("", &[("http_proxy", &with_login)]);
    let access = settings.access("http://registry.invalid/npm").unwrap();
    assert_eq!(client(&access).look("x", SOON).await, Ok(None));
    let asked = proxy.only();
    assert_eq!(asked.target, "http://registry.invalid/npm/x");
    assert_eq!(asked.header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let dead = nobody();
    let (document, _folder) = document("x", b"tarball");
    for proxy in [Tunnel::new(403).url, Tunnel::new(407).url, dead] {
        let with_login = proxy.replacen("//", "//user:hush@", 1);
        let settings = settings(&format!("https-proxy={with_login}"), &[]);
        let client = client(&settings.access("https://registry.invalid").unwrap());
        for refusal in [client.look("x", SOON).await.unwrap_err(), client.put(&document, SOON).await.unwrap_err()] {
            assert_eq!(refusal.kind, Kind::Unavailable, "{refusal}");
            let expected = format!("https://registry.invalid cannot be reached through the proxy {proxy}: ");
            assert!(refusal.message.starts_with(&expected), "{refusal}");
            assert!(!refusal.message.contains("hush"), "{refusal}");
        }
    }
}

#[test]
fn a_proxy_of_another_kind_is_said_before_anything_is_sent() {
    let access = settings("https-proxy=socks5://u:hush@h:1", &[]).access("https://registry.invalid").unwrap();
    let error = Client::new(&access, "packline/0").err().unwrap().to_string();
    let expected = "registry https://registry.invalid: the proxy socks5://h:1 cannot be used: \
                    it must start with http:// or https://";
    assert_eq!(error, expected);
}
