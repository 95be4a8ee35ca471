//! One MCP session with the catalogue, with a time-out on everything.

use std::{fmt, time::Duration};

use packline_service::lines::as_npm_reads_them;
use rmcp::{
    Peer, RoleClient, ServiceError, ServiceExt,
    model::{CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ErrorCode, Implementation},
    service::{ClientInitializeError, RunningService},
    transport::{
        DynamicTransportError, StreamableHttpClientTransport,
        streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError},
    },
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use crate::{child::Program, config::Endpoint, http::Client};

/// How long a session may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// Why the catalogue did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The tool, or the server for it, said no.
    Refused(String),
    /// The server failed; the session stands.
    Failed(String),
    /// No answer in time: what was asked may still be done. End the session.
    TimedOut(Duration),
    /// There is no session, or none any more.
    Broken(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "it refused: {why}"),
            Self::Failed(why) => write!(f, "it failed: {why}"),
            Self::TimedOut(after) => write!(f, "no answer within {}", humantime::format_duration(*after)),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CallError {}

/// An open session. Dropping it ends it at once; [`Session::close`] lets it end by itself.
pub struct Session {
    client: RunningService<RoleClient, ClientConfig>,
    // after `client`: its stdin is closed before it is killed
    program: Option<Program>,
    patience: Duration,
}

/// Who calls tools within a session.
#[derive(Clone)]
pub struct Caller {
    peer: Peer<RoleClient>,
    patience: Duration,
}

impl Session {
    /// Begins a session; each answer may take `patience`.
    ///
    /// # Errors
    /// [`CallError::Broken`] or [`CallError::TimedOut`].
    pub async fn open(endpoint: &Endpoint, patience: Duration) -> Result<Self, CallError> {
        match tokio::time::timeout(patience, connect(endpoint)).await {
            Ok(Ok((client, program))) => Ok(Self { client, program, patience }),
            Ok(Err(why)) => Err(CallError::Broken(why)),
            Err(_) => Err(CallError::TimedOut(patience)),
        }
    }

    /// For calls that run beside each other.
    pub fn caller(&self) -> Caller {
        Caller { peer: self.client.peer().clone(), patience: self.patience }
    }

    /// Ends the session: its program is asked by the end of its stdin, then killed.
    pub async fn close(mut self) {
        let _ = self.client.close_with_timeout(GRACE).await;
        if let Some(program) = self.program.take() {
            program.end(GRACE).await;
        }
    }
}

async fn connect(endpoint: &Endpoint) -> Result<(RunningService<RoleClient, ClientConfig>, Option<Program>), String> {
    let me = ClientConfig::new(
        ClientCapabilities::default(),
        Implementation::new("packline-poller", env!("CARGO_PKG_VERSION")),
    );
    match endpoint {
        Endpoint::Command { program, arguments } => {
            let (child, output, input) =
                Program::start(program, arguments).map_err(|error| format!("failed to start `{program}`: {error}"))?;
            let client = me.serve((as_npm_reads_them(output), input)).await.map_err(|error| not_begun(&error))?;
            Ok((client, Some(child)))
        }
        Endpoint::Http { url, token } => {
            let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
            if let Some(token) = token {
                config = config.auth_header(token.expose_secret());
            }
            let client = Client::new().map_err(|error| with_causes(&error))?;
            let transport = StreamableHttpClientTransport::with_client(client, config);
            let client = me.serve(transport).await.map_err(|error| not_begun(&error))?;
            Ok((client, None))
        }
    }
}

impl Caller {
    /// The names of the server's tools.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn tools(&self) -> Result<Vec<String>, CallError> {
        match tokio::time::timeout(self.patience, self.peer.list_all_tools()).await {
            Err(_) => Err(CallError::TimedOut(self.patience)),
            Ok(Err(error)) => Err(sort(&error)),
            Ok(Ok(tools)) => Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect()),
        }
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Result<CallToolResult, CallError> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let result = match tokio::time::timeout(self.patience, self.peer.call_tool(params)).await {
            Err(_) => return Err(CallError::TimedOut(self.patience)),
            Ok(Err(error)) => return Err(sort(&error)),
            Ok(Ok(result)) => result,
        };
        if result.is_error == Some(true) {
            let said = result.content.first().and_then(|block| block.as_text()).map(|text| text.text.as_str());
            return Err(CallError::Refused(one_line(&said.unwrap_or("and does not say why"))));
        }
        Ok(result)
    }
}

fn sort(error: &ServiceError) -> CallError {
    match error {
        // servers say so of unknown tools and of arguments that they do not take
        ServiceError::McpError(said)
            if [ErrorCode::INVALID_PARAMS, ErrorCode::METHOD_NOT_FOUND, ErrorCode::INVALID_REQUEST]
                .contains(&said.code) =>
        {
            CallError::Refused(one_line(&said.message))
        }
        ServiceError::McpError(said) => CallError::Failed(one_line(&said.message)),
        ServiceError::UnexpectedResponse => CallError::Failed("it answered what is no result of a tool".into()),
        ServiceError::TransportSend(error) => CallError::Broken(failed(error)),
        other => CallError::Broken(one_line(other)),
    }
}

fn not_begun(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::TransportError { error, .. } => failed(error),
        other => one_line(other),
    }
}

/// What a transport failed of, in one line.
fn failed(error: &DynamicTransportError) -> String {
    match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        Some(StreamableHttpError::Client(error)) => with_causes(error),
        _ => with_causes(error.error.as_ref()),
    }
}

/// An error and what caused it, in one line: that a request failed says little, that a certificate is unknown much.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    one_line(&said)
}

/// What a stranger said, as one line of a log.
pub(crate) fn one_line(said: &impl fmt::Display) -> String {
    const LONGEST: usize = 500;
    let text = said.to_string();
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}
