//! MCP over streamable HTTP, and the page.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    body::to_bytes,
    extract::Request,
    http::{Method, StatusCode, header::CONTENT_LENGTH},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use packline_service::{Shutdown, listen};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};

use crate::{
    config::HttpSettings,
    door::{Door, PAGE},
    page,
    store::Store,
    tools::Catalogue,
};

/// Where MCP is spoken.
const MCP: &str = "/mcp";

/// The largest request, in bytes: no argument of a tool comes near it.
const MAX_BODY: usize = 1024 * 1024;

/// How long clients may take to end what they have begun once we are asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until asked to stop.
///
/// # Errors
/// When the settings are unusable or the address is.
pub(crate) async fn serve(
    store: Arc<Store>,
    settings: &HttpSettings,
    address: SocketAddr,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let door = Door::new(settings, address)?;
    let listener = listen("MCP_HTTP_ADDR", address).await?;
    let bound = listener.local_addr().context("failed to learn the address")?;
    tracing::info!("serving MCP on http://{bound}{MCP} and a page on http://{bound}{PAGE}");
    if address.port() == 0 {
        // nobody else knows it, and a closed stdout is no reason not to serve
        let _ = writeln!(std::io::stdout(), "http://{bound}{MCP}");
    }
    let asked = shutdown.clone();
    let serving =
        axum::serve(listener, router(store, door)).with_graceful_shutdown(async move { asked.requested().await });
    let overdue = async {
        shutdown.requested().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = serving => ended.context("failed to serve HTTP"),
        () = overdue => Ok(()),
    }
}

/// Hands on a message as strict JSON, where npm would read it: see [`packline_json::parse`].
async fn as_npm_reads_it(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (mut head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, format!("a message has at most {MAX_BODY} bytes")).into_response();
    };
    let body = packline_json::parse(&body).map_or(body, |message| message.to_string().into());
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    next.run(Request::from_parts(head, body.into())).await
}

/// Without sessions: each request stands for itself, so that a restart is nothing to clients.
fn router(store: Arc<Store>, door: Door) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MAX_BODY)
        // the door has seen to that, for the page as well
        .disable_allowed_hosts()
        // browsers name the origin of what another page sends: no page has business here
        .enforce_origin_validation();
    let catalogue = Catalogue::new(Arc::clone(&store));
    let mcp =
        StreamableHttpService::new(move || Ok(catalogue.clone()), Arc::new(NeverSessionManager::default()), config);
    let mcp = Router::new().route_service(MCP, mcp).layer(middleware::from_fn(as_npm_reads_it));
    Router::new()
        .route(PAGE, get(page::show))
        .with_state(store)
        .merge(mcp)
        .layer(middleware::from_fn_with_state(door, Door::guard))
}
