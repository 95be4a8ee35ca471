//! HTTP/1.1 by hand: a server of a library reads and closes when it likes, and not when a test likes.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Answer, behaviour::Gate};

/// A head longer than this is refused.
const LONGEST_HEAD: usize = 64 * 1024;

/// How a body is read.
pub(super) enum Pace {
    Free,
    /// So many bytes at a time, with a pause after each.
    Every(usize, Duration),
    /// Held once so many bytes are read.
    HoldAfter(usize, Gate),
}

/// The head of a request.
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header, whose name is given in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether the client wants the connection closed.
    pub(super) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection, with what was read ahead.
pub(super) struct Connection {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    /// The next head; `None` at the end of the connection.
    pub(super) async fn head(&mut self) -> io::Result<Option<Head>> {
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            length += line.len();
            if length > LONGEST_HEAD {
                return Err(io::Error::other("a head that is too long"));
            }
            match (line.is_empty(), lines.is_empty()) {
                (true, true) => {}
                (true, false) => break,
                _ => lines.push(line),
            }
        }
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::other("no request line"));
        };
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok(Some(Head { method, target, headers: headers.collect() }))
    }

    /// Reads the body of a request into `body`, which has what came also where this fails.
    pub(super) async fn body(&mut self, head: &Head, pace: &mut Pace, body: &mut Vec<u8>) -> io::Result<()> {
        if head.header("expect").is_some() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if head.header("transfer-encoding").is_some() {
            loop {
                let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
                if size == 0 {
                    while self.line().await?.is_some_and(|trailer| !trailer.is_empty()) {}
                    return Ok(());
                }
                self.take(size, pace, body).await?;
                self.line().await?;
            }
        }
        let length = head.header("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        self.take(length, pace, body).await
    }

    /// Adds `count` bytes to `body`.
    async fn take(&mut self, count: usize, pace: &mut Pace, body: &mut Vec<u8>) -> io::Result<()> {
        let end = body.len() + count;
        loop {
            if let Pace::HoldAfter(after, gate) = pace
                && body.len() >= *after
            {
                gate.pass().await;
                *pace = Pace::Free;
            }
            let left = end.saturating_sub(body.len());
            if left == 0 {
                return Ok(());
            }
            let most = match pace {
                Pace::Free => left,
                Pace::Every(bytes, _) => left.min((*bytes).max(1)),
                Pace::HoldAfter(after, _) => left.min(after.saturating_sub(body.len())),
            };
            if self.ahead.is_empty() && !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            body.extend(self.ahead.drain(..most.min(self.ahead.len())));
            if let Pace::Every(_, pause) = pace {
                tokio::time::sleep(*pause).await;
            }
        }
    }

    /// The next line, without its end; `None` at the end of the connection.
    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                line.extend(self.ahead.drain(..=end));
                let text = String::from_utf8_lossy(&line);
                return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
            }
            line.append(&mut self.ahead);
            if line.len() > LONGEST_HEAD {
                return Err(io::Error::other("a line that is too long"));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads ahead; false at the end of the connection.
    async fn fill(&mut self) -> io::Result<bool> {
        self.ahead.reserve(256 * 1024);
        Ok(self.stream.read_buf(&mut self.ahead).await? > 0)
    }

    /// Sends an answer.
    pub(super) async fn answer(&mut self, head: &Head, answer: &Answer) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n", answer.body.len()));
        text.push_str(if head.closes() { "connection: close\r\n\r\n" } else { "connection: keep-alive\r\n\r\n" });
        self.stream.write_all(text.as_bytes()).await?;
        if head.method != "HEAD" {
            self.stream.write_all(&answer.body).await?;
        }
        self.stream.flush().await
    }
}

/// npm prints the reason of a refusal.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
