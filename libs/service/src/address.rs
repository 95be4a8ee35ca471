//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::Unusable;

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`; port 0 is any free one. For
/// clap's `value_parser`.
///
/// # Errors
/// When it is none.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse()
        .map_err(|_| "an address is written like 127.0.0.1:8080, or 0.0.0.0:8080 for all of this machine's".into())
}

/// Listens on the address that `setting` names.
///
/// # Errors
/// When the machine does not allow it; one line that says what would do.
pub async fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, Unusable> {
    TcpListener::bind(address).await.map_err(|error| {
        Unusable(format!(
            "{setting}: failed to listen on {address} ({error}); an address of this machine with a free port would do, \
             port 0 takes any"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_address_or_localhost_with_a_port() {
        for (text, meant) in
            [("127.0.0.1:80", "127.0.0.1:80"), ("[::1]:0", "[::1]:0"), ("localhost:8080", "127.0.0.1:8080")]
        {
            assert_eq!(address(text), Ok(meant.parse().unwrap()));
        }
        for wrong in
            ["", "8080", ":8080", "localhost", "localhost:", "example.com:80", "127.0.0.1:99999", "http://[::1]:1"]
        {
            let line = address(wrong).unwrap_err();
            assert!(line.contains("127.0.0.1:8080") && !line.contains('\n'), "{line}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_or_foreign_is_unusable_in_one_line() {
        let held = listen("HTTP_ADDR", address("127.0.0.1:0").unwrap()).await.unwrap();
        for taken in [held.local_addr().unwrap(), address("192.0.2.1:0").unwrap()] {
            let line = listen("HTTP_ADDR", taken).await.unwrap_err().to_string();
            assert!(line.starts_with(&format!("HTTP_ADDR: failed to listen on {taken} (")), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
