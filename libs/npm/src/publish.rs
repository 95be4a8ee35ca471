//! The put: one document with the tarball in it, which never is in memory as a whole.

use std::{
    fmt,
    io::{self, Read, Seek},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::Stream;
use reqwest::{
    Body, Method,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE},
};
use serde_json::json;
use sha2::{Digest, Sha512};
use tokio::{
    fs::File,
    io::AsyncReadExt,
    time::{Instant, timeout_at},
};

use crate::{
    client::Client,
    refusal::{Asked, Kind, Refusal},
    trouble::{self, Sent},
};

/// Bytes of the tarball that are sent at a time: a multiple of three, so that the pieces of base64 join.
const PIECE: usize = 48 << 10;

/// A version as it is published.
#[derive(Clone)]
pub struct Document {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// A JSON object with all but `_attachments`: `_id`, `name`, `dist-tags`, `versions`, `access`. It is sent as it is.
    pub head: String,
    /// The packed package.
    pub tarball: PathBuf,
    /// `sha512-…` of the tarball. Another tarball is not sent.
    pub integrity: String,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} of {}", self.name, self.version, self.tarball.display())
    }
}

impl Client {
    /// Publishes a version. One request, which is never repeated and follows no redirect.
    ///
    /// # Errors
    /// See [`Refusal`]; a tarball with another integrity is permanent, and nothing of it was sent.
    pub async fn put(&self, document: &Document, within: Duration) -> Result<(), Refusal> {
        self.put_watched(document, || {}, within).await
    }

    /// The same, with `go_on` called before each piece of the request.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub async fn put_watched(
        &self,
        document: &Document,
        go_on: impl Fn() + Send + 'static,
        within: Duration,
    ) -> Result<(), Refusal> {
        let until = Instant::now() + within;
        let url = self.address(&document.name)?;
        let (tarball, length) = document.open().await?;
        let [before, after] = document.around(length);
        let size = before.len() as u64 + length.div_ceil(3) * 4 + after.len() as u64;
        let what = format!("{}@{}", document.name, document.version);
        let asked = Asked::Put { what: &what, size };
        let is_sent = Arc::new(AtomicBool::new(false));
        let upload = Upload {
            next: Next::Before,
            tarball,
            length,
            before,
            after,
            hash: Sha512::new(),
            integrity: document.integrity.clone(),
            is_sent: Arc::clone(&is_sent),
            go_on: Box::new(go_on),
        };
        let request = self
            .request(Method::PUT, &url)?
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, size)
            .header(ACCEPT, "*/*")
            .header("npm-command", "publish")
            .body(Body::wrap_stream(upload.pieces()));
        let sent = || if is_sent.load(Ordering::SeqCst) { Sent::Part } else { Sent::Nothing };
        let response = match timeout_at(until, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(trouble::refusal(&error, &self.access, asked, &url, sent())),
            Err(_) => {
                let registry = self.access.registry();
                return Err(match sent() {
                    Sent::Part => Refusal::new(
                        Kind::NoAnswer,
                        format!("{registry} did not answer the request for {what} within the timeout"),
                    ),
                    Sent::Nothing => Refusal::unavailable(format!("{registry} was not reached within the timeout")),
                });
            }
        };
        if response.status().is_success() {
            return Ok(());
        }
        match timeout_at(until, self.refused(response, asked)).await {
            Ok(refusal) => Err(refusal),
            Err(_) => Err(Refusal::new(
                Kind::NoAnswer,
                format!("{} did not finish its answer for {what} within the timeout", self.access.registry()),
            )),
        }
    }
}

impl Document {
    /// The tarball, opened once: what is read from it later is what was checked.
    async fn open(&self) -> Result<(File, u64), Refusal> {
        let (path, integrity) = (self.tarball.clone(), self.integrity.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let unread = |error: io::Error| Refusal::unavailable(format!("{} cannot be read: {error}", path.display()));
            let mut file = std::fs::File::open(&path).map_err(unread)?;
            let (mut hash, mut piece, mut length) = (Sha512::new(), vec![0; PIECE], 0);
            loop {
                let count = file.read(&mut piece).map_err(unread)?;
                if count == 0 {
                    break;
                }
                hash.update(piece.get(..count).unwrap_or_default());
                length += count as u64;
            }
            let found = text(hash);
            if found != integrity {
                return Err(Refusal::permanent(format!(
                    "{} is not the tarball that was checked: its integrity is {found} instead of {integrity}",
                    path.display()
                )));
            }
            file.rewind().map_err(unread)?;
            Ok((file, length))
        });
        let (file, length) =
            checked.await.map_err(|error| Refusal::unavailable(format!("reading the tarball failed: {error}")))??;
        Ok((File::from_std(file), length))
    }

    /// What comes before and after the tarball.
    fn around(&self, length: u64) -> [Bytes; 2] {
        let mut before = self.head.trim_end().strip_suffix('}').unwrap_or_default().to_owned();
        if before.trim().len() > 1 {
            before.push(',');
        }
        let name = json!(format!("{}-{}.tgz", self.name, self.version));
        before.push_str(&format!(r#""_attachments":{{{name}:{{"content_type":"application/octet-stream","data":""#));
        [before.into(), format!(r#"","length":{length}}}}}}}"#).into()]
    }
}

fn text(hash: Sha512) -> String {
    format!("sha512-{}", BASE64_STANDARD.encode(hash.finalize()))
}

/// What is sent next.
enum Next {
    Before,
    Tarball(u64),
    End,
}

/// The body of a put on its way.
struct Upload {
    next: Next,
    tarball: File,
    length: u64,
    before: Bytes,
    after: Bytes,
    hash: Sha512,
    integrity: String,
    is_sent: Arc<AtomicBool>,
    go_on: Box<dyn Fn() + Send>,
}

impl Upload {
    fn pieces(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures::stream::try_unfold(
            self,
            |mut upload| async move { Ok(upload.piece().await?.map(|piece| (piece, upload))) },
        )
    }

    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        (self.go_on)();
        self.is_sent.store(true, Ordering::SeqCst);
        match self.next {
            Next::Before => {
                self.next = Next::Tarball(0);
                Ok(Some(self.before.clone()))
            }
            Next::Tarball(at) if at < self.length => {
                let mut piece = vec![0; PIECE.min(usize::try_from(self.length - at).unwrap_or(PIECE))];
                self.tarball.read_exact(&mut piece).await?;
                self.hash.update(&piece);
                self.next = Next::Tarball(at + piece.len() as u64);
                Ok(Some(BASE64_STANDARD.encode(piece).into()))
            }
            Next::Tarball(_) => {
                // Whoever can write to the file could do so after it was checked. Without its end no registry takes it.
                if text(std::mem::take(&mut self.hash)) != self.integrity {
                    return Err(io::Error::other("the tarball was changed while it was sent"));
                }
                self.next = Next::End;
                Ok(Some(self.after.clone()))
            }
            Next::End => Ok(None),
        }
    }
}
