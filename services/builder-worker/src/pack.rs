//! Packs a folder by one start of `npm publish`, and keeps the request that npm makes instead of passing it on.
//!
//! What npm sends is the tarball and the document of the version, normalized by npm's own rules, whichever npm the
//! machine has. So neither is made a second time here. This runs as a command of a phase, where no token is: the
//! worker's own program, which listens, starts npm, and ends with it.

use std::{
    borrow::Cow,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header::AUTHORIZATION},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{net::TcpListener, process::Command};

use crate::phase::TEMPFAIL;

/// What stands in the arguments of npm where the address belongs that npm publishes to.
pub const REGISTRY: &str = "{registry}";
/// The name of the packed tarball.
pub const TARBALL: &str = "package.tgz";
/// The name of the document: what npm sends, without the tarball.
pub const DOCUMENT: &str = "document.json";

/// The name of npm's settings, in the same folder.
pub const USERCONFIG: &str = "npmrc";

/// Each piece is whole groups of four characters.
const PIECE: usize = 1 << 16;

/// What is packed, as one line on stdin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// `npm publish` with all its flags; [`REGISTRY`] is replaced.
    pub npm: Vec<String>,
    /// Where the tarball and the document go, and where npm has its settings.
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

/// What npm is to show, and the body of its PUT. Whoever else is on this machine can reach the address, too.
#[derive(Clone)]
struct Door {
    authorization: Arc<str>,
    sent: Arc<Mutex<Option<Bytes>>>,
}

impl Door {
    fn new(token: &str) -> Self {
        Self { authorization: format!("Bearer {token}").into(), sent: Arc::default() }
    }

    /// Nothing is known here, and what npm publishes is taken. The body of anybody else is not read.
    async fn answer(&self, request: Request) -> StatusCode {
        let shown = request.headers().get(AUTHORIZATION).map(|shown| shown.as_bytes());
        if shown != Some(self.authorization.as_bytes()) {
            return StatusCode::UNAUTHORIZED;
        }
        if *request.method() != Method::PUT {
            return StatusCode::NOT_FOUND;
        }
        let Ok(body) = to_bytes(request.into_body(), usize::MAX).await else { return StatusCode::BAD_REQUEST };
        *self.sent() = Some(body);
        StatusCode::CREATED
    }

    fn sent(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What nobody can guess.
fn token() -> io::Result<String> {
    let mut random = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn pack(order: &Order) -> io::Result<ExitCode> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let place = listener.local_addr()?;
    let token = token()?;
    // npm reads it there. It asks for some token before it sends anything.
    write_new(&order.folder.join(USERCONFIG), format!("//{place}/:_authToken={token}\n").as_bytes())?;
    let door = Door::new(&token);
    let router = Router::new().fallback(answer).with_state(door.clone());
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let ended = publish(order, &place.to_string()).await;
    served.abort();
    let body = door.sent().take();
    match body {
        Some(body) => keep(&body, &order.folder).map(|()| ExitCode::SUCCESS),
        None => Ok(code(ended?)),
    }
}

async fn answer(State(door): State<Door>, request: Request) -> (StatusCode, &'static str) {
    (door.answer(request).await, "{}")
}

async fn publish(order: &Order, place: &str) -> io::Result<ExitStatus> {
    let registry = format!("http://{place}");
    let mut arguments = order.npm.iter().map(|argument| argument.replace(REGISTRY, &registry));
    let program = arguments.next().unwrap_or_default();
    Command::new(program)
        .args(arguments)
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
    write_new(&folder.join(DOCUMENT), &serde_json::to_vec(&document)?)
}

/// Never through a link, and never to a pipe, that somebody else put there.
fn write_new(file: &Path, contents: &[u8]) -> io::Result<()> {
    fs::File::create_new(file)?.write_all(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_but_npm_is_listened_to() {
        let door = Door::new(&token().unwrap());
        let request = |method: Method, authorization: Option<&str>| {
            let request = Request::builder().method(method);
            let request = authorization.into_iter().fold(request, |request, text| request.header(AUTHORIZATION, text));
            request.body("ours".into()).unwrap()
        };
        let guessed = format!("Bearer {}", token().unwrap());
        for wrong in [None, Some(guessed.as_str())] {
            assert_eq!(door.answer(request(Method::PUT, wrong)).await, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(*door.sent(), None);
        let right = Some(&*door.authorization);
        assert_eq!(door.answer(request(Method::GET, right)).await, StatusCode::NOT_FOUND);
        assert_eq!(door.answer(request(Method::PUT, right)).await, StatusCode::CREATED);
        assert_eq!(door.sent().as_deref(), Some(&b"ours"[..]));
    }

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
