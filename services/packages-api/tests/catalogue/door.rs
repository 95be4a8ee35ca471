//! Who is let in.

use packline_testkit::http::stranger;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::served::{Served, TOKEN, call};

/// A request that adds a package, as any MCP client sends it.
fn adding(name: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "packages_add", "arguments": {"name": name}}})
}

fn post(served: &Served, body: &Value) -> reqwest::RequestBuilder {
    let request = stranger().post(&served.url).header("Accept", "application/json, text/event-stream");
    request.header("Content-Type", "application/json").body(body.to_string())
}

async fn status(request: reqwest::RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

async fn counts(served: &Served, token: Option<&str>) -> Value {
    call(&served.client(token).await, "packages_counts", json!({})).await
}

#[tokio::test]
async fn without_the_right_token_nothing_is_shown_and_nothing_is_done() {
    let served = Served::start(&["--mcp-token", TOKEN]).await;
    for wrong in [None, Some("Bearer wrong"), Some("Bearer right-toke"), Some("Bearer "), Some("right-token")] {
        let with = |request: reqwest::RequestBuilder| match wrong {
            Some(value) => request.header("Authorization", value),
            None => request,
        };
        let answer = with(post(&served, &adding("a"))).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"packages-api\"");
        let answer = with(stranger().get(served.page())).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"packages-api\"", "a browser asks for it");
        assert!(!answer.text().await.unwrap().contains("<html"));
        assert_eq!(status(with(stranger().get(format!("{}x", served.page())))).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(
        status(stranger().post(&served.url).basic_auth("me", Some(TOKEN)).body("{}")).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(counts(&served, Some(TOKEN)).await["ready"], 0);
    assert_eq!(status(post(&served, &adding("a")).bearer_auth(TOKEN)).await, StatusCode::OK);
    assert_eq!(status(stranger().get(served.page()).basic_auth("me", Some(TOKEN))).await, StatusCode::OK);
    assert_eq!(counts(&served, Some(TOKEN)).await["ready"], 1);
    assert!(!served.process.printed().contains(TOKEN), "the token is never logged");
}

#[tokio::test]
async fn a_host_or_an_origin_of_a_stranger_is_forbidden() {
    let served = Served::start(&["--allowed-hosts", "catalogue.example,other.example"]).await;
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "catalogue.example.evil"] {
        assert_eq!(status(post(&served, &adding("a")).header("Host", host)).await, StatusCode::FORBIDDEN, "{host}");
        let answer = stranger().get(served.page()).header("Host", host).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{host}");
        assert!(answer.text().await.unwrap().contains("MCP_ALLOWED_HOSTS"));
    }
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        assert_eq!(
            status(post(&served, &adding("a")).header("Origin", origin)).await,
            StatusCode::FORBIDDEN,
            "{origin}"
        );
    }
    // what a form of another page can send without asking first
    let form = stranger().post(&served.url).header("Content-Type", "text/plain").body(adding("a").to_string());
    assert!(status(form).await.is_client_error());
    assert_eq!(counts(&served, None).await["ready"], 0);
    for host in ["localhost", "catalogue.example:8080", &served.authority()] {
        assert_eq!(status(stranger().get(served.page()).header("Host", host)).await, StatusCode::OK, "{host}");
    }
    assert_eq!(status(post(&served, &adding("a")).header("Host", "other.example")).await, StatusCode::OK);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_the_next_request_served() {
    let served = Served::start(&[]).await;
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "packages_update",
        "arguments": {"id": "a", "data": {"status": "failed", "metadata": {"error": "x".repeat(1024 * 1024)}}}}});
    assert_eq!(status(post(&served, &large)).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(status(post(&served, &adding("a"))).await, StatusCode::OK);
    for rubbish in ["", "{", "[]", "null", "{\"jsonrpc\":\"2.0\"}", "\u{0}"] {
        let request = post(&served, &Value::Null).body(rubbish);
        assert!(status(request).await.is_client_error(), "{rubbish:?}");
    }
    assert_eq!(counts(&served, None).await["ready"], 1);
}
