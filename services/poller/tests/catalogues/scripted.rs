//! A catalogue over streamable HTTP that answers as it is told, and keeps what it was asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::IntoResponse,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ServerCapabilities, ServerConfig},
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::within;

/// How a tool answers.
#[derive(Clone)]
pub(crate) enum Reply {
    Is(Value),
    /// The first of these, as many as are asked for.
    First(Vec<Value>),
    /// The same, and an error where more than so many are asked for.
    FirstUpTo(usize, Vec<Value>),
    Text(&'static str),
    ToolError(&'static str),
    ProtocolError(&'static str),
    Never,
}

/// The token that it wants to see.
pub(crate) const TOKEN: &str = "hush-hush";

/// What it does, and what it was asked.
pub(crate) struct Script {
    queue: Mutex<Reply>,
    updates: Mutex<BTreeMap<String, Reply>>,
    calls: watch::Sender<Vec<(String, Value)>>,
    /// Requests to report that were answered with 503, while there is a count.
    turned_away: watch::Sender<(bool, usize)>,
    url: String,
}

impl Script {
    /// A catalogue with these packages, that accepts every update.
    pub(crate) async fn of(packages: &[&str]) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let script = Arc::new(Self {
            queue: Mutex::new(Reply::Is(named(packages))),
            updates: Mutex::default(),
            calls: watch::Sender::default(),
            turned_away: watch::Sender::default(),
            url,
        });
        let served = Arc::clone(&script);
        let service = StreamableHttpService::new(
            move || Ok(Scripted(Arc::clone(&served))),
            Arc::new(LocalSessionManager::default()),
            StreamableHttpServerConfig::default(),
        );
        let router = Router::new()
            .nest_service("/mcp", service)
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&script), up))
            .layer(axum::middleware::from_fn(authorized));
        tokio::spawn(async move { axum::serve(listener, router).await });
        script
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Lists these from now on.
    pub(crate) fn lists(&self, packages: &[&str]) {
        self.answers(Reply::Is(named(packages)));
    }

    /// Answers so to the question for the queue from now on.
    pub(crate) fn answers(&self, reply: Reply) {
        *self.queue.lock().unwrap() = reply;
    }

    /// Answers so to updates of one package from now on; accepts them again where nothing is given.
    pub(crate) fn updates(&self, package: &str, reply: Option<Reply>) {
        let mut updates = self.updates.lock().unwrap();
        match reply {
            Some(reply) => updates.insert(package.to_owned(), reply),
            None => updates.remove(package),
        };
    }

    /// Whether calls to report are answered with 503 from now on.
    pub(crate) fn reports_are_down(&self, down: bool) {
        self.turned_away.send_modify(|state| state.0 = down);
    }

    /// How many were.
    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away.borrow().1
    }

    /// The arguments of all calls of a tool so far.
    pub(crate) fn calls(&self, tool: &str) -> Vec<Value> {
        let calls = self.calls.borrow();
        calls.iter().filter(|(name, _)| name == tool).map(|(_, arguments)| arguments.clone()).collect()
    }

    /// Package and status of each update so far.
    pub(crate) fn told(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.calls("packages_update").iter().map(|call| (text(&call["id"]), text(&call["data"]["status"]))).collect()
    }

    /// Waits until what it was asked is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let (mut calls, mut turned_away) = (self.calls.subscribe(), self.turned_away.subscribe());
        within(what, async {
            while !wanted(self) {
                tokio::select! {
                    changed = calls.changed() => changed.unwrap(),
                    changed = turned_away.changed() => changed.unwrap(),
                }
            }
        })
        .await;
    }
}

fn named(packages: &[&str]) -> Value {
    let packages: Vec<Value> = packages.iter().map(|name| json!({ "name": name, "status": "ready" })).collect();
    json!({ "packages": packages })
}

async fn authorized(request: Request, next: Next) -> axum::response::Response {
    let sent = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if sent == Some(&format!("Bearer {TOKEN}")) {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, [("www-authenticate", "Bearer")], "who are you?").into_response()
    }
}

/// Turns reports away while it is told so.
async fn up(State(script): State<Arc<Script>>, request: Request, next: Next) -> axum::response::Response {
    if !script.turned_away.borrow().0 {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    if String::from_utf8_lossy(&body).contains("packages_update") {
        script.turned_away.send_modify(|state| state.1 += 1);
        return (StatusCode::SERVICE_UNAVAILABLE, "out of order").into_response();
    }
    next.run(Request::from_parts(head, body.into())).await
}

struct Scripted(Arc<Script>);

impl ServerHandler for Scripted {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let reply = match request.name.as_ref() {
            "packages_get_build_queue" => self.0.queue.lock().unwrap().clone(),
            "packages_update" => {
                let id = arguments["id"].as_str().unwrap_or_default();
                self.0.updates.lock().unwrap().get(id).cloned().unwrap_or(Reply::Text("thanks"))
            }
            other => return Err(ErrorData::invalid_params(format!("unknown tool {other}"), None)),
        };
        let limit = usize::try_from(arguments["limit"].as_u64().unwrap_or(10)).unwrap();
        self.0.calls.send_modify(|calls| calls.push((request.name.to_string(), arguments)));
        match reply {
            Reply::FirstUpTo(most, _) if limit > most => {
                Ok(CallToolResult::error(vec![ContentBlock::text(format!("limit is at most {most}"))]).into())
            }
            Reply::First(packages) | Reply::FirstUpTo(_, packages) => {
                let packages = packages.get(..limit).unwrap_or(&packages);
                Ok(CallToolResult::structured(json!({ "packages": packages })).into())
            }
            Reply::Is(value) => Ok(CallToolResult::structured(value).into()),
            Reply::Text(text) => Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into()),
            Reply::ToolError(why) => Ok(CallToolResult::error(vec![ContentBlock::text(why)]).into()),
            Reply::ProtocolError(why) => Err(ErrorData::internal_error(why, None)),
            Reply::Never => std::future::pending().await,
        }
    }
}
