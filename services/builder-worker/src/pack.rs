//! Packs a folder by one start of `npm publish`, and keeps the request that npm makes instead of passing it on.
//!
//! What npm sends is the tarball and the document of the version, normalized by npm's own rules, whichever npm the
//! machine has. So neither is made a second time here. This runs as a command of a phase, where no token is: the
//! worker's own program, which listens, starts npm, and ends with it.

use std::{
    borrow::Cow,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Bytes, extract::DefaultBodyLimit, extract::State, http::Method, http::StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{net::TcpListener, process::Command};

/// What stands in the arguments of npm where the address belongs that npm publishes to.
pub const REGISTRY: &str = "{registry}";
/// The name of the packed tarball.
pub const TARBALL: &str = "package.tgz";
/// The name of the document: what npm sends, without the tarball.
pub const DOCUMENT: &str = "document.json";

/// Each piece is whole groups of four characters.
const PIECE: usize = 1 << 16;

/// What is packed, as one line on stdin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// `npm publish` with all its flags; [`REGISTRY`] is replaced.
    pub npm: Vec<String>,
    /// Where the tarball and the document go; empty.
    pub folder: PathBuf,
}

/// Reads the order and follows it; ends as npm ended where npm sent nothing.
pub(crate) fn run() -> ExitCode {
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    let order = read.and_then(|_| serde_json::from_str::<Order>(&line).map_err(io::Error::from));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match order.and_then(|order| runtime?.block_on(pack(&order))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("packing failed: {error}");
            ExitCode::from(TEMPFAIL)
        }
    }
}

/// EX_TEMPFAIL: the machine is at fault.
const TEMPFAIL: u8 = 75;

/// The body of the only PUT.
type Sent = Arc<Mutex<Option<Bytes>>>;

async fn pack(order: &Order) -> io::Result<ExitCode> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let place = listener.local_addr()?;
    let sent = Sent::default();
    let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&sent));
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let ended = publish(order, &place.to_string()).await;
    served.abort();
    let body = sent.lock().unwrap_or_else(PoisonError::into_inner).take();
    match body {
        Some(body) => keep(&body, &order.folder).map(|()| ExitCode::SUCCESS),
        None => Ok(code(ended?)),
    }
}

/// Nothing is known here, and what is published is taken.
async fn answer(State(sent): State<Sent>, method: Method, body: Bytes) -> (StatusCode, &'static str) {
    if method != Method::PUT {
        return (StatusCode::NOT_FOUND, "{}");
    }
    *sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    (StatusCode::CREATED, "{}")
}

async fn publish(order: &Order, place: &str) -> io::Result<ExitStatus> {
    let registry = format!("http://{place}");
    let mut arguments = order.npm.iter().map(|argument| argument.replace(REGISTRY, &registry));
    let program = arguments.next().unwrap_or_default();
    Command::new(program)
        .args(arguments)
        // npm asks for some token before it sends anything.
        .arg(format!("--//{place}/:_authToken=none"))
        .stdin(Stdio::null())
        // "+ name@version", which is not true yet.
        .stdout(Stdio::null())
        .status()
        .await
}

/// An end without a request is no success, whatever npm says.
fn code(ended: ExitStatus) -> ExitCode {
    match ended.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) | None => ExitCode::FAILURE,
        Some(code) => ExitCode::from(code),
    }
}

#[derive(Deserialize)]
struct Attachment<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
}

/// Writes the tarball and the document of a request of `npm publish`.
fn keep(body: &[u8], folder: &Path) -> io::Result<()> {
    let mut document: IndexMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(body)?;
    let attachments = document.shift_remove("_attachments").map_or("{}", RawValue::get);
    let attachments: IndexMap<Cow<'_, str>, Attachment<'_>> = serde_json::from_str(attachments)?;
    let tarballs: Vec<_> = attachments.iter().filter(|(name, _)| name.ends_with(".tgz")).collect();
    let [(_, tarball)] = tarballs.as_slice() else {
        return Err(io::Error::other(format!("npm sent {} tarballs instead of one", tarballs.len())));
    };
    let mut file = io::BufWriter::new(fs::File::create_new(folder.join(TARBALL))?);
    for piece in tarball.data.as_bytes().chunks(PIECE) {
        file.write_all(&STANDARD.decode(piece).map_err(io::Error::other)?)?;
    }
    file.flush()?;
    fs::write(folder.join(DOCUMENT), serde_json::to_vec(&document)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_kept_as_a_tarball_and_a_document_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let data = STANDARD.encode(vec![7; 3 * PIECE + 1]);
        let body = format!(
            r#"{{"_id":"b","name":"b","dist-tags":{{}},"access":null,"_attachments":{{"b-1.0.0.tgz":{{"data":"{data}"}}}}}}"#
        );
        keep(body.as_bytes(), folder.path()).unwrap();
        assert_eq!(fs::read(folder.path().join(TARBALL)).unwrap(), vec![7; 3 * PIECE + 1]);
        let document = fs::read_to_string(folder.path().join(DOCUMENT)).unwrap();
        assert_eq!(document, r#"{"_id":"b","name":"b","dist-tags":{},"access":null}"#);
        let none = keep(br#"{"_attachments":{}}"#, folder.path()).unwrap_err();
        assert_eq!(none.to_string(), "npm sent 0 tarballs instead of one");
    }
}
