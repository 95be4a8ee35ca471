//! What stands before two registries: the one that is published to, and the mirror of those that npm is set to.
//!
//! Both are Verdaccio. One alone would not do: it keeps what it has heard of other registries beside what is published
//! to it, refuses a version that it has heard of, and is told the names of a workspace at its start only.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    held::{Held, HeldVersions},
    merge::Document,
    target::Target,
};

/// How long a connection may be idle: less than Verdaccio keeps one.
const IDLE: Duration = Duration::from_secs(20);
/// How long the mirror may take for a package that is published here: then that alone is shown.
const MIRROR: Duration = Duration::from_secs(10);
/// How long a package that the mirror does not have, or cannot get, is not asked for again.
const ABSENT: Duration = Duration::from_secs(10);
/// The longest document of a package, in bytes; the longest of the public registry have 100 MB.
const DOCUMENT: usize = 512 << 20;
/// What npm accepts where it wants no more than an install needs.
const ABBREVIATED: HeaderValue = HeaderValue::from_static("application/vnd.npm.install-v1+json");
/// Headers that are about one connection.
const OF_A_CONNECTION: [header::HeaderName; 5] =
    [header::CONNECTION, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE];

/// Answers for both.
pub(super) struct Front {
    own: u16,
    mirror: u16,
    /// The folder where `own` keeps its packages, each in a folder of its name.
    storage: PathBuf,
    held: HeldVersions,
    client: Client<HttpConnector, Body>,
    absent: Mutex<HashMap<String, Instant>>,
}

/// An answer of one registry, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A registry does not answer.
struct Away(String);

impl Front {
    /// For what listens on these ports of 127.0.0.1.
    pub(super) fn new(own: u16, mirror: u16, storage: PathBuf, held: HeldVersions) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
        Self { own, mirror, storage, held, client, absent: Mutex::default() }
    }

    /// Serves until the task is aborted.
    pub(super) fn serve(self, listener: TcpListener) -> JoinHandle<()> {
        let routes = Router::new().fallback(answer).with_state(Arc::new(self));
        let listener = listener.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        })
    }

    /// Whether a name is held, or something of it is published here.
    fn is_of_the_workspace(&self, name: &str) -> bool {
        self.held.of(name).is_some() || self.is_published(name)
    }

    fn is_published(&self, name: &str) -> bool {
        self.storage.join(name).join("package.json").is_file()
    }

    /// Hands a request on to a registry as it is.
    async fn hand_on(&self, port: u16, mut request: Request) -> Result<Response, Away> {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        let uri = Uri::builder().scheme("http").authority(format!("127.0.0.1:{port}")).path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|error| Away(error.to_string()))?;
        *request.version_mut() = axum::http::Version::HTTP_11;
        for name in OF_A_CONNECTION {
            request.headers_mut().remove(name);
        }
        let mut response = self.client.request(request).await.map_err(|error| Away(with_causes(&error)))?;
        for name in OF_A_CONNECTION {
            response.headers_mut().remove(name);
        }
        *response.version_mut() = axum::http::Version::HTTP_11;
        Ok(response.map(Body::new))
    }

    /// Asks a registry for the document of a package, as it is now.
    async fn ask(&self, port: u16, name: &str, asked: &HeaderMap) -> Result<Answer, Away> {
        let mut request = Request::new(Body::empty());
        let path = format!("/{}", name.replace('/', "%2f"));
        *request.uri_mut() = path.parse().map_err(|_| Away(format!("{name} is no path")))?;
        for wanted in [header::HOST, header::ACCEPT, header::AUTHORIZATION, header::USER_AGENT] {
            if let Some(value) = asked.get(&wanted) {
                request.headers_mut().insert(wanted, value.clone());
            }
        }
        let (head, body) = self.hand_on(port, request).await?.into_parts();
        let body = to_bytes(body, DOCUMENT).await.map_err(|error| Away(with_causes(&error)))?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// What the mirror has of a package; an answer other than 200 where it has nothing.
    async fn ask_mirror(&self, name: &str, asked: &HeaderMap, is_published: bool) -> Result<Answer, Away> {
        let is_recent = |since: &Instant| since.elapsed() < ABSENT;
        let lock = || self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if is_published && lock().get(name).is_some_and(is_recent) {
            return Err(Away("it was asked a moment ago".to_owned()));
        }
        let asking = self.ask(self.mirror, name, asked);
        let answer = if is_published {
            let late = |_| Away(format!("it did not answer within {} s", MIRROR.as_secs()));
            tokio::time::timeout(MIRROR, asking).await.map_err(late).and_then(|answer| answer)
        } else {
            asking.await
        };
        let mut absent = lock();
        if matches!(&answer, Ok(answer) if answer.status == StatusCode::OK) {
            absent.remove(name);
        } else {
            absent.retain(|_, since| is_recent(since));
            absent.insert(name.to_owned(), Instant::now());
        }
        answer
    }

    /// What there is of a package of the workspace, here and at the mirror; else the answer that says why there is
    /// nothing. With the headers of an answer that has it.
    async fn document(&self, name: &str, asked: &HeaderMap) -> Result<(HeaderMap, Document), Response> {
        let held = self.held.of(name);
        let own = match self.is_published(name) {
            false => None,
            true => match self.ask(self.own, name, asked).await.map_err(|Away(why)| away(&why))? {
                answer if answer.status == StatusCode::OK => Some(answer),
                answer if answer.status == StatusCode::NOT_FOUND => None,
                answer => return Err(answer.into_response()),
            },
        };
        let theirs = if held == Some(Held::All) {
            None
        } else {
            match self.ask_mirror(name, asked, own.is_some()).await {
                Ok(answer) if answer.status == StatusCode::OK => Some(answer),
                Ok(answer) if own.is_none() && answer.status != StatusCode::NOT_FOUND => {
                    return Err(answer.into_response());
                }
                Err(Away(why)) if own.is_none() => return Err(away(&why)),
                Ok(_) | Err(_) => None,
            }
        };
        let headers = own.as_ref().or(theirs.as_ref()).map(|answer| answer.headers.clone());
        let parse = |answer: Answer| Document::parse(&answer.body);
        let parsed = own.map(parse).transpose().and_then(|own| Ok((own, theirs.map(parse).transpose()?)));
        let (own, theirs) = parsed.map_err(|error| away(&format!("the document of {name} is no JSON: {error}")))?;
        match (headers, Document::merge(own, theirs, held.as_ref())) {
            (Some(headers), Some(document)) => Ok((headers, document)),
            _ => Err(not_found("no such package available")),
        }
    }

    /// A file of a package of the workspace. One that is not published here is one of the mirror where that is the
    /// tarball of a version that may come from there.
    async fn tarball(&self, name: &str, file: &str, request: Request) -> Result<Response, Response> {
        let (head, body) = request.into_parts();
        let again = || Request::from_parts(head.clone(), Body::empty());
        let refused = |Away(why): Away| away(&why);
        let mut answer = not_found("no such file available");
        if self.is_published(name) {
            answer = self.hand_on(self.own, Request::from_parts(head.clone(), body)).await.map_err(refused)?;
            if answer.status() != StatusCode::NOT_FOUND {
                return Ok(answer);
            }
        }
        let mut asked = head.headers.clone();
        asked.insert(header::ACCEPT, ABBREVIATED);
        let (_, document) = self.document(name, &asked).await?;
        if !document.has_tarball(file) {
            return Ok(answer);
        }
        self.hand_on(self.mirror, again()).await.map_err(refused)
    }
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let asks = matches!(*request.method(), Method::GET | Method::HEAD) && !writes(&request);
    let target = if asks { Target::of(request.uri()) } else { None };
    let handed_on = match target {
        None => front.hand_on(front.own, request).await,
        Some(target) if !front.is_of_the_workspace(target.name()) => front.hand_on(front.mirror, request).await,
        Some(target) => return of_the_workspace(&front, &target, request).await.unwrap_or_else(|refused| refused),
    };
    handed_on.unwrap_or_else(|Away(why)| away(&why))
}

/// Whether npm is about to write by what it reads, and so wants what can be written here. A publish refuses `latest`
/// to a version below any that it is shown.
fn writes(request: &Request) -> bool {
    const WRITE: [&str; 4] = ["publish", "unpublish", "deprecate", "dist-tag"];
    let query = request.uri().query().unwrap_or_default();
    let command = request.headers().get("npm-command").and_then(|command| command.to_str().ok());
    query.split('&').any(|part| part == "write=true") || command.is_some_and(|command| WRITE.contains(&command))
}

async fn of_the_workspace(front: &Front, target: &Target, request: Request) -> Result<Response, Response> {
    let name = target.name();
    if let Target::Tarball(_, file) = target {
        return front.tarball(name, file, request).await;
    }
    let mut asked = request.headers().clone();
    if !matches!(target, Target::Package(_)) {
        asked.remove(header::ACCEPT);
    }
    let (mut headers, document) = front.document(name, &asked).await?;
    let body = match target {
        Target::Version(_, wanted) => match document.version(wanted) {
            Some(version) => Ok(version.get().as_bytes().to_vec()),
            None => return Err(not_found(&format!("this version doesn't exist: {wanted}"))),
        },
        Target::Tags(_) => document.tags(),
        Target::Package(_) | Target::Tarball(..) => document.write(),
    };
    let body = body.map_err(|error| away(&error.to_string()))?;
    // These are about what one of the registries has sent.
    for name in [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        headers.remove(name);
    }
    Ok((headers, body).into_response())
}

impl IntoResponse for Answer {
    fn into_response(mut self) -> Response {
        self.headers.remove(header::CONTENT_LENGTH);
        (self.status, self.headers, self.body).into_response()
    }
}

fn not_found(why: &str) -> Response {
    error(StatusCode::NOT_FOUND, why)
}

fn away(why: &str) -> Response {
    error(StatusCode::BAD_GATEWAY, &format!("the registry has no answer: {why}"))
}

fn error(status: StatusCode, why: &str) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], json!({ "error": why }).to_string()).into_response()
}

/// An error and its causes in one line.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
