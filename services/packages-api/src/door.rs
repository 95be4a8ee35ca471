//! Who may come in over HTTP: known host names only, and those who know the token where there is one.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use packline_service::Unusable;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{config::HttpSettings, store::shown};

/// The page, which people open: the browser asks them for the token as a password.
pub(crate) const PAGE: &str = "/";

/// What a request must bring.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    token: Option<SecretString>,
    hosts: Vec<String>,
}

impl Door {
    /// By the settings, when serving on `address`.
    ///
    /// # Errors
    /// When others than this machine could come in without a token, or the token cannot be sent.
    pub(crate) fn new(settings: &HttpSettings, address: SocketAddr) -> Result<Self, Unusable> {
        match settings.token.as_ref().map(ExposeSecret::expose_secret) {
            None if !address.ip().is_loopback() => {
                return Err(Unusable(format!(
                    "{address} can be reached from other machines and there is no token: set MCP_TOKEN, or serve on \
                     127.0.0.1:{}",
                    address.port()
                )));
            }
            Some(token) if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(Unusable(
                    "MCP_TOKEN is empty or has characters that no header can carry; a token is one word of printable \
                     ASCII, for example from `openssl rand -hex 32`"
                        .into(),
                ));
            }
            _ => {}
        }
        let hosts = settings.allowed_hosts.iter().map(|host| host.trim().to_ascii_lowercase());
        Ok(Self { token: settings.token.clone(), hosts: hosts.filter(|host| !host.is_empty()).collect() })
    }

    /// Lets a request in, or says in one line why not.
    pub(crate) async fn guard(State(door): State<Self>, request: Request, next: Next) -> Response {
        let (uri, headers) = (request.uri(), request.headers());
        if let Err(line) = door.check_host(uri, headers) {
            tracing::warn!("refused a request: {line}");
            return (StatusCode::FORBIDDEN, line).into_response();
        }
        if !door.knows_token(uri, headers) {
            let scheme = if uri.path() == PAGE { "Basic" } else { "Bearer" };
            let wanted = HeaderValue::from_static(match scheme {
                "Basic" => "Basic realm=\"packages-api\"",
                _ => "Bearer realm=\"packages-api\"",
            });
            let line = "the token of this catalogue is needed (MCP_TOKEN)";
            return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, wanted)], line).into_response();
        }
        next.run(request).await
    }

    /// A page of a stranger can make its own name point here and then speak as this machine's browser
    /// (DNS rebinding); an IP address cannot be made to point anywhere.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
        let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = named.and_then(|host| host.parse::<Authority>().ok()).or_else(|| uri.authority().cloned());
        let Some(authority) = authority else { return Err("it names no host".into()) };
        let host = authority.host().to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if host == "localhost" || bare.parse::<IpAddr>().is_ok() || self.hosts.contains(&host) {
            return Ok(());
        }
        Err(format!("the host `{}` is not served here; MCP_ALLOWED_HOSTS names the hosts that are", shown(&host)))
    }

    fn knows_token(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, credentials)) = given.and_then(|value| value.split_once(' ')) else { return false };
        let credentials = credentials.trim();
        let shown = if scheme.eq_ignore_ascii_case("bearer") {
            credentials.as_bytes().to_vec()
        } else if scheme.eq_ignore_ascii_case("basic") && uri.path() == PAGE {
            // `user:password`, whoever the user is
            let decoded = BASE64_STANDARD.decode(credentials).unwrap_or_default();
            decoded
                .iter()
                .position(|byte| *byte == b':')
                .and_then(|at| decoded.get(at + 1..))
                .unwrap_or_default()
                .to_vec()
        } else {
            return false;
        };
        // Hashes, for slices of different lengths are told apart at once.
        let [shown, token] = [&shown[..], token.expose_secret().as_bytes()].map(Sha256::digest);
        bool::from(shown.as_slice().ct_eq(token.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(token: Option<&str>, hosts: &[&str]) -> HttpSettings {
        HttpSettings {
            address: None,
            token: token.map(SecretString::from),
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        }
    }

    fn door(token: Option<&str>, hosts: &[&str]) -> Door {
        Door::new(&settings(token, hosts), "127.0.0.1:80".parse().unwrap()).unwrap()
    }

    #[test]
    fn beyond_loopback_a_token_is_needed_and_said_so_in_one_line() {
        for open in ["0.0.0.0:80", "[::]:80", "192.168.1.1:80"] {
            let line = Door::new(&settings(None, &[]), open.parse().unwrap()).unwrap_err().to_string();
            assert!(line.contains("set MCP_TOKEN, or serve on 127.0.0.1:80") && !line.contains('\n'), "{line}");
            assert!(Door::new(&settings(Some("t"), &[]), open.parse().unwrap()).is_ok());
        }
        for unsendable in ["", " ", "a b", "tökén", "a\n"] {
            let line = Door::new(&settings(Some(unsendable), &[]), "127.0.0.1:80".parse().unwrap());
            assert!(line.unwrap_err().to_string().starts_with("MCP_TOKEN"), "{unsendable:?}");
        }
    }

    #[test]
    fn only_hosts_that_cannot_be_made_to_point_here_are_served() {
        let check = |door: &Door, host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            door.check_host(&Uri::from_static("/"), &headers)
        };
        let closed = door(None, &[]);
        for fine in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "[::1]", "10.0.0.7"] {
            check(&closed, fine).unwrap();
        }
        for foreign in ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "", "a b", "[::1", "1"] {
            assert!(check(&closed, foreign).is_err(), "{foreign}");
        }
        assert!(closed.check_host(&Uri::from_static("/"), &HeaderMap::new()).is_err());
        let open = door(None, &["Catalogue", " other.example "]);
        check(&open, "catalogue:8080").unwrap();
        check(&open, "other.example").unwrap();
        assert!(check(&open, "evil.example").is_err());
    }

    #[test]
    fn the_token_is_a_bearer_token_and_for_the_page_also_a_password() {
        let knows = |path: &'static str, value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            door(Some("right:one"), &[]).knows_token(&Uri::from_static(path), &headers)
        };
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert!(knows("/mcp", "Bearer right:one") && knows("/", "bearer right:one"));
        assert!(knows("/?status=failed", &basic("me:right:one")) && knows("/", &basic(":right:one")));
        assert!(!knows("/mcp", &basic("me:right:one")), "a browser sends a password wherever it is led");
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            "Bearer right:on",
            "Bearer right:one1",
            "right:one",
            "Token right:one",
        ] {
            assert!(!knows("/mcp", wrong) && !knows("/", wrong), "{wrong}");
        }
        for wrong in ["Basic", "Basic !", &basic("right:one"), &basic("me:wrong"), &basic("")] {
            assert!(!knows("/", wrong), "{wrong}");
        }
        assert!(!door(Some("t"), &[]).knows_token(&Uri::from_static("/mcp"), &HeaderMap::new()));
        assert!(door(None, &[]).knows_token(&Uri::from_static("/mcp"), &HeaderMap::new()));
    }
}
