//! MCP over streamable HTTP, every answer read as npm reads JSON before it is read as a message.
//!
//! rmcp's own client would leave out what is no strict JSON, and the call would end by its timeout.

use std::{borrow::Cow, collections::HashMap, io, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use reqwest::{
    Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE},
    redirect::Policy,
};
use rmcp::{
    model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_client::{
        AuthRequiredError, HttpStatusError, InsufficientScopeError, SseError, StreamableHttpClient,
        StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
    },
};
use sse_stream::{Sse, SseStream};

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
const SESSION: &str = "mcp-session-id";

/// The most redirects of one request.
const REDIRECTS: usize = 10;

type Headers = HashMap<HeaderName, HeaderValue>;
type Failure = StreamableHttpError<reqwest::Error>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Sends messages by HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Client(reqwest::Client);

impl Client {
    /// # Errors
    /// When the certificates of this machine cannot be used.
    pub(crate) fn new() -> reqwest::Result<Self> {
        // A connection whose last answer was not read to its end must not be used again.
        reqwest::Client::builder().pool_max_idle_per_host(0).redirect(redirects()).build().map(Self)
    }
}

/// Follows those that keep the message and stay with the server: what opens it is sent along.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let keeps = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&attempt.status());
        let first = attempt.previous().first();
        if !keeps || !first.is_some_and(|first| first.origin() == attempt.url().origin()) {
            attempt.stop()
        } else if attempt.previous().len() > REDIRECTS {
            attempt.error(format!("more than {REDIRECTS} redirects"))
        } else {
            attempt.follow()
        }
    })
}

impl StreamableHttpClient for Client {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session, token, headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let in_session = session.is_some();
        let mut request = self.0.post(uri.as_ref()).header(ACCEPT, format!("{EVENTS}, {JSON}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(session) = session {
            request = request.header(SESSION, session.as_ref());
        }
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let response = request.json(&message).send().await?;
        let is_answered = matches!(message, ClientJsonRpcMessage::Request(_));
        read(response, is_answered, in_session, limits).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<(), Failure> {
        self.0.delete_session(uri, session, token, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: Headers,
    ) -> Result<Events, Failure> {
        Ok(strict(self.0.get_stream(uri, session, last_event, token, headers).await?))
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: Headers,
        most: usize,
    ) -> Result<Events, Failure> {
        let client = &self.0;
        let events = client.get_stream_with_max_sse_event_size(uri, session, last_event, token, headers, most);
        Ok(strict(events.await?))
    }
}

/// What came of a message that was sent. Only a request waits for an answer: of all else no body matters.
async fn read(
    response: Response,
    is_answered: bool,
    in_session: bool,
    limits: StreamableHttpResponseLimits,
) -> Result<StreamableHttpPostResponse, Failure> {
    let status = response.status();
    if let Some(asked_for) = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()) {
        match status {
            StatusCode::UNAUTHORIZED => {
                return Err(StreamableHttpError::AuthRequired(AuthRequiredError::new(asked_for.to_owned())));
            }
            StatusCode::FORBIDDEN => {
                let error = InsufficientScopeError::new(asked_for.to_owned(), None);
                return Err(StreamableHttpError::InsufficientScope(error));
            }
            _ => {}
        }
    }
    if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) || status.is_success() && !is_answered {
        return Ok(StreamableHttpPostResponse::Accepted);
    }
    if status == StatusCode::NOT_FOUND && in_session {
        return Err(StreamableHttpError::SessionExpired);
    }
    let text =
        |name: &str| response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let (kind, session) = (text(CONTENT_TYPE.as_str()), text(SESSION));
    let is = |wanted: &str| {
        let essence = kind.as_deref().and_then(|kind| kind.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(wanted))
    };
    if status.is_success() && is(EVENTS) {
        let lines = whole_lines(response.bytes_stream(), limits.max_sse_event_size);
        return Ok(StreamableHttpPostResponse::Sse(strict(SseStream::from_bytes_stream(lines).boxed()), session));
    }
    if status.is_success() && !is(JSON) {
        return Err(StreamableHttpError::UnexpectedContentType(kind));
    }
    let is_json = is(JSON);
    let most = if is_json { limits.max_json_response_size } else { limits.max_error_response_size };
    let body = whole(response, most).await?;
    let message = packline_json::parse(&body).map_err(|error| error.to_string());
    let message = message
        .and_then(|value| serde_json::from_value::<ServerJsonRpcMessage>(value).map_err(|error| error.to_string()));
    match message {
        Ok(message) if status.is_success() || is_json && matches!(message, JsonRpcMessage::Error(_)) => {
            Ok(StreamableHttpPostResponse::Json(message, session))
        }
        Err(why) if status.is_success() => {
            let said = format!("its answer is no message of MCP: {why}");
            Err(StreamableHttpError::UnexpectedServerResponse(Cow::Owned(said)))
        }
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(HttpStatusError::new(status.as_u16(), None).into())
        }
        _ => {
            let said = format!("HTTP {status}: {}", String::from_utf8_lossy(&body));
            Err(StreamableHttpError::UnexpectedServerResponse(Cow::Owned(said)))
        }
    }
}

/// The whole body of an answer.
async fn whole(mut response: Response, most: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: most });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The same bytes, whole lines at a time and as UTF-8, until an event has more than `most` of them.
fn whole_lines(
    bytes: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
    most: usize,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    struct Lines<S> {
        bytes: S,
        begun: Vec<u8>,
        of_the_event: usize,
        last: u8,
    }
    let lines = Lines { bytes: bytes.boxed(), begun: Vec::new(), of_the_event: 0, last: 0 };
    futures::stream::try_unfold(lines, move |mut lines| async move {
        while let Some(chunk) = lines.bytes.try_next().await.map_err(io::Error::other)? {
            lines.begun.extend_from_slice(&chunk);
            let end = lines.begun.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
            let left = lines.begun.split_off(end);
            let ended = std::mem::replace(&mut lines.begun, left);
            let mut longest = 0;
            for byte in &ended {
                let is_blank = matches!((lines.last, byte), (b'\n', b'\n' | b'\r') | (b'\r', b'\r'));
                lines.of_the_event = if is_blank { 0 } else { lines.of_the_event + 1 };
                longest = longest.max(lines.of_the_event);
                lines.last = *byte;
            }
            if longest.max(lines.of_the_event + lines.begun.len()) > most {
                return Err(io::Error::other(format!("an event has more than {most} bytes")));
            }
            if !ended.is_empty() {
                let text = String::from_utf8_lossy(&ended).into_owned();
                return Ok(Some((Bytes::from(text), lines)));
            }
        }
        Ok(None)
    })
}

/// The same events with strict JSON, where they have JSON.
fn strict(events: impl Stream<Item = Result<Sse, SseError>> + Send + 'static) -> Events {
    let read = |mut event: Sse| {
        if let Some(Ok(value)) = event.data.as_ref().map(|data| packline_json::parse(data.as_bytes())) {
            event.data = Some(value.to_string());
        }
        event
    };
    events.map_ok(read).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of these pieces.
    async fn events(pieces: &[&'static [u8]], most: usize) -> Vec<Result<String, String>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        let lines = whole_lines(futures::stream::iter(pieces), most);
        let events = strict(SseStream::from_bytes_stream(lines).boxed());
        events
            .map(|event| event.map(|event| event.data.unwrap_or_default()).map_err(|error| error.to_string()))
            .collect()
            .await
    }

    #[tokio::test]
    async fn events_become_strict_json_however_they_are_cut() {
        let pieces: [&[u8]; 6] = [
            b"id: 1\ndata:\n\n",
            b"data: {\"a\": \"cut \\ud8",
            b"3d\", \"b\": NaN, \"c\": \"\xC3",
            b"\xA9\xFF\"}\r\n\r\nevent: message\rdata: [1,\rdata: Infinity]\r\r",
            b"data: no JSON\n",
            b"\n",
        ];
        let strict = r#"{"a":"cut \u{FFFD}","b":null,"c":"é\u{FFFD}"}"#.replace("\\u{FFFD}", "\u{FFFD}");
        let read = events(&pieces, 100).await;
        assert_eq!(read, [Ok(String::new()), Ok(strict), Ok("[1,null]".into()), Ok("no JSON".into())]);
    }

    #[tokio::test]
    async fn an_event_is_bounded_and_those_before_it_do_not_count() {
        let short: &[u8] = b"data: 12345678\n\n";
        assert_eq!(events(&[short; 50], 20).await.len(), 50);
        let by_line: Vec<&[u8]> = [b"data: 12345678\n".as_slice(), b"\n"].repeat(50);
        assert_eq!(events(&by_line, 20).await.len(), 50);
        let read = events(&[short, b"data: 1\n", b"data: 2\n", b"data: 3\n\n"], 20).await;
        assert_eq!(read.len(), 2);
        assert!(read[1].as_ref().unwrap_err().contains("an event has more than 20 bytes"), "{read:?}");
        assert!(events(&[b"data: 12345", b"67890123456"], 20).await[0].is_err());
    }
}
