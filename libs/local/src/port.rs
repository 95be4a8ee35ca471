//! Ports for servers that are told theirs.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

/// Below the ports that the kernel gives to connections and to those who ask for any: nobody takes one of these between
/// its choice and its use, and a restart finds it free.
const PORTS: Range<u16> = 12_000..30_000;

/// A port of 127.0.0.1 that nobody listens on now.
///
/// # Errors
/// When this machine has none.
pub fn free_port() -> io::Result<u16> {
    loop {
        let port = fastrand::u16(PORTS);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}
