//! Clients that nobody here wrote: the Python and the TypeScript SDK, over stdio and over HTTP.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use packline_testkit::tools;
use serde_json::{Value, json};

use crate::served::{Served, TOKEN};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/catalogue").join(name)
}

async fn python() -> Command {
    tools::python().await.unwrap().command(&script("client.py"))
}

async fn typescript() -> Command {
    tools::typescript().await.unwrap().command(&script("client.mjs"))
}

/// What the client saw, each time.
async fn seen(client: Command, arguments: &[&str]) -> Vec<Value> {
    let mut client = tokio::process::Command::from(client);
    let ended = client.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    ended.stdout.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The same whoever asks, and however.
fn expected() -> Value {
    let reading = ["packages_counts", "packages_get", "packages_get_build_queue", "packages_list"];
    let tools = [&["packages_add"][..], &reading, &["packages_update"]].concat();
    json!({
        "tools": tools,
        "reading": reading,
        "queue": ["@acme/base", "@acme/app"],
        "pages": [["@acme/app"], ["@acme/base"], null],
        "counts": {"ready": 0, "building": 0, "published": 1, "failed": 1},
        "said": {"error": "<b>é\n\"x\"", "failedPhase": "test", "attempts": 3, "buildId": "acme/app.7"},
        "refused": ["error"],
        "resources": ["packages://queue", "packages://list"],
        "templates": ["packages://list{?status,after}", "packages://package/{+name}"],
        "list": ["@acme/app", "@acme/base"],
        "failed": ["@acme/app"],
        "package": "failed",
        "encoded": "failed",
        "nothing": -32002,
        "completed": ["@acme/app"],
    })
}

async fn over_stdio(client: Command) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("packages.db").display().to_string();
    let arguments = ["stdio", env!("CARGO_BIN_EXE_packages-api"), "--database", &database, "serve"];
    assert_eq!(seen(client, &arguments).await, [expected()]);
}

/// With the token it works; without it or with a wrong one it learns and changes nothing.
async fn over_http(client: Command) {
    let served = Served::start(&["--mcp-token", TOKEN]).await;
    let seen = seen(client, &["http", &served.url, "-", "wrong", TOKEN]).await;
    assert_eq!(seen, [json!({"status": 401}), json!({"status": 401}), expected()]);
}

#[tokio::test]
async fn the_python_client_works_with_the_catalogue_over_stdio() {
    over_stdio(python().await).await;
}

#[tokio::test]
async fn the_typescript_client_works_with_the_catalogue_over_stdio() {
    over_stdio(typescript().await).await;
}

#[tokio::test]
async fn the_python_client_works_with_the_catalogue_over_http_with_the_right_token_only() {
    over_http(python().await).await;
}

#[tokio::test]
async fn the_typescript_client_works_with_the_catalogue_over_http_with_the_right_token_only() {
    over_http(typescript().await).await;
}
