//! A registry that answers as a test tells it, and notes what it is asked.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use packline_npm::{Access, Client, Environment, Settings};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha512};

/// No test waits longer for a registry than this.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Bytes of a body that are kept.
const KEPT: usize = 1 << 20;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    /// Its first part.
    pub(crate) body: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) hash: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a registry does when it has read the head of a request.
pub(crate) enum Reply {
    /// It reads the body and answers this.
    Answer(Vec<u8>),
    /// It reads the body and closes the connection.
    Close,
    /// It closes the connection at once.
    Hang,
    /// It answers at once, and reads the rest afterwards.
    Early(Vec<u8>),
    /// It reads the body and keeps silent until the other side has enough.
    Silence,
}

/// An answer with a body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut text = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    Reply::Answer(format!("{text}connection: close\r\n\r\n{body}").into())
}

type Decide = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// The registry; it lives as long as the process.
pub(crate) struct Stand {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Stand {
    pub(crate) fn new(decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, decide)
    }

    pub(crate) fn with_tls(tls: Arc<ServerConfig>, decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Some(tls), decide)
    }

    fn start(tls: Option<Arc<ServerConfig>>, decide: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, decide): (_, Decide) = (Arc::clone(&seen), Arc::new(decide));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, noted, decide) = (tls.clone(), Arc::clone(&noted), Arc::clone(&decide));
                // Whoever hangs up is no error of the registry.
                thread::spawn(move || match tls {
                    Some(tls) => serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &noted, &decide),
                    None => serve(stream, &noted, &decide),
                });
            }
        });
        Self { url, seen }
    }

    /// What it was asked so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request.
    pub(crate) fn only(&self) -> Asked {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen[0].clone()
    }

    pub(crate) fn client(&self) -> Client {
        client(&Access::open(&self.url))
    }

    pub(crate) fn client_with(&self, token: &str) -> Client {
        client(&Access::open(&self.url).with_token(token))
    }
}

pub(crate) fn client(access: &Access) -> Client {
    Client::new(access, "packline/0").unwrap()
}

/// Settings of this user file and these variables.
pub(crate) fn settings(user: &str, variables: &[(&str, &str)]) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".npmrc"), user).unwrap();
    let home = ("HOME", folder.path().to_str().unwrap());
    let all = variables.iter().chain([&home]).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::read(Environment::new(all, folder.path().to_owned())).unwrap()
}

fn serve<S: Read + Write>(stream: S, seen: &Mutex<Vec<Asked>>, decide: &Decide) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut asked = head(&mut stream)?;
    let reply = decide(&asked);
    if let Reply::Hang = reply {
        seen.lock().unwrap().push(asked);
        return Ok(());
    }
    if let Reply::Early(answer) = &reply {
        seen.lock().unwrap().push(asked.clone());
        stream.get_mut().write_all(answer)?;
        stream.get_mut().flush()?;
        return body(&mut stream, &mut asked);
    }
    body(&mut stream, &mut asked)?;
    seen.lock().unwrap().push(asked);
    match reply {
        Reply::Answer(answer) => {
            stream.get_mut().write_all(&answer)?;
            stream.get_mut().flush()
        }
        Reply::Silence => stream.read(&mut [0]).map(|_| ()),
        _ => Ok(()),
    }
}

pub(crate) fn head(stream: &mut impl BufRead) -> io::Result<Asked> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.is_empty() {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof))
        } else {
            Ok(line.trim_end().to_owned())
        }
    };
    let mut asked = Asked::default();
    let first = line()?;
    let mut words = first.split(' ');
    asked.method = words.next().unwrap_or_default().to_owned();
    asked.target = words.next().unwrap_or_default().to_owned();
    loop {
        match line()?.split_once(": ") {
            Some((name, value)) => asked.headers.push((name.to_lowercase(), value.to_owned())),
            None => return Ok(asked),
        }
    }
}

fn body(stream: &mut impl BufRead, asked: &mut Asked) -> io::Result<()> {
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut hash = Sha512::new();
    while asked.size < length {
        let piece = stream.fill_buf()?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = piece.len();
        hash.update(piece);
        let kept = KEPT.saturating_sub(asked.body.len()).min(count);
        asked.body.extend_from_slice(&piece[..kept]);
        asked.size += count as u64;
        stream.consume(count);
    }
    asked.hash = hash.finalize().to_vec();
    Ok(())
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Both directions of a tunnel.
pub(crate) fn pump(one: TcpStream, other: TcpStream) {
    let (mut from, mut to) = (one.try_clone().unwrap(), other.try_clone().unwrap());
    thread::spawn(move || io::copy(&mut from, &mut to));
    let (mut from, mut to) = (other, one);
    let _ = io::copy(&mut from, &mut to);
}
