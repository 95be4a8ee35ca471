//! The tools as an MCP client meets them, with and without a process between.
use std::{path::Path, process::Stdio, sync::Arc};

use packline_packages_api::{store::Store, tools::Catalogue};
use rmcp::{
    RoleClient, ServiceError, ServiceExt,
    model::{CallToolRequestParams, CallToolResult},
    service::RunningService,
    transport::TokioChildProcess,
};
use serde_json::{Value, json};
use tempfile::TempDir;

type Client = RunningService<RoleClient, ()>;

async fn in_process(database: &Path) -> Client {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let catalogue = Catalogue::new(Arc::new(Store::open(database).unwrap()));
    tokio::spawn(async move { catalogue.serve(far).await.unwrap().waiting().await });
    ().serve(near).await.unwrap()
}

async fn as_a_process(database: &Path) -> Client {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_packages-api"));
    // however much it logs, stdout stays the protocol's alone
    command.args(["serve", "--database"]).arg(database).env("RUST_LOG", "trace");
    let (transport, _) = TokioChildProcess::builder(command).stderr(Stdio::null()).spawn().unwrap();
    ().serve(transport).await.unwrap()
}

async fn call(client: &Client, tool: &str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    client.call_tool(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)).await.unwrap()
}

async fn answer(client: &Client, tool: &str, arguments: Value) -> Value {
    let result = call(client, tool, arguments).await;
    assert_eq!(result.is_error, Some(false), "{result:?}");
    let text: Value = serde_json::from_str(&result.content[0].as_text().unwrap().text).unwrap();
    assert_eq!(Some(&text), result.structured_content.as_ref(), "the text says the same as the structured content");
    text
}

async fn refusal(client: &Client, tool: &str, arguments: Value) -> String {
    let result = call(client, tool, arguments).await;
    assert_eq!(result.is_error, Some(true), "{result:?}");
    let line = result.content[0].as_text().unwrap().text.clone();
    assert!(!line.is_empty() && !line.contains('\n'), "one line: {line:?}");
    line
}

fn names(answer: &Value) -> Vec<&str> {
    answer["packages"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect()
}

async fn add_the_example(client: &Client) {
    for (name, priority, dependencies) in [
        ("@acme/app", 100, json!(["@acme/core", "left-pad"])),
        ("@acme/core", 1, json!([])),
        ("@acme/tool", 50, json!([])),
    ] {
        answer(client, "packages_add", json!({"name": name, "priority": priority, "dependencies": dependencies})).await;
    }
}

#[tokio::test]
async fn a_path_is_answered_where_there_is_one_and_a_wrong_one_refused() {
    let folder = TempDir::new().unwrap();
    let client = in_process(&folder.path().join("packages.db")).await;
    answer(&client, "packages_add", json!({"name": "moved", "path": "src/moved"})).await;
    answer(&client, "packages_add", json!({"name": "usual"})).await;
    let queue = answer(&client, "packages_get_build_queue", json!({})).await;
    assert_eq!(queue["packages"][0]["path"], json!("src/moved"));
    assert_eq!(queue["packages"][1].get("path"), None);
    let line = refusal(&client, "packages_add", json!({"name": "out", "path": "../out"})).await;
    assert_eq!(line, "`../out` is not the path of a package: no part of a path is empty, `.` or `..`");
}

#[tokio::test]
async fn the_build_queue_has_dependencies_first_then_priority() {
    let folder = TempDir::new().unwrap();
    let client = in_process(&folder.path().join("packages.db")).await;
    add_the_example(&client).await;
    let queue = answer(&client, "packages_get_build_queue", json!({})).await;
    assert_eq!(names(&queue), ["@acme/core", "@acme/app", "@acme/tool"]);
    assert_eq!(
        queue["packages"][1],
        json!({"id": "P1", "name": "@acme/app", "priority": 100, "dependencies": ["@acme/core", "left-pad"], "category": "unknown", "status": "ready"})
    );
    assert_eq!(names(&answer(&client, "packages_get_build_queue", json!({"limit": 1})).await), ["@acme/core"]);
}

#[tokio::test]
async fn the_build_queue_shows_ten_unless_told_otherwise() {
    let folder = TempDir::new().unwrap();
    let client = in_process(&folder.path().join("packages.db")).await;
    for n in 0..25 {
        answer(&client, "packages_add", json!({"name": format!("p{n}")})).await;
    }
    assert_eq!(names(&answer(&client, "packages_get_build_queue", json!({})).await).len(), 10);
    assert_eq!(names(&answer(&client, "packages_get_build_queue", json!({"limit": 10_000})).await).len(), 25);
    for limit in [json!(0), json!(-1), json!(10_001), json!("ten"), json!(1.5)] {
        refusal(&client, "packages_get_build_queue", json!({"limit": limit})).await;
    }
}

#[tokio::test]
async fn what_is_published_or_failed_leaves_the_build_queue() {
    let folder = TempDir::new().unwrap();
    let client = in_process(&folder.path().join("packages.db")).await;
    add_the_example(&client).await;
    let update = |id: &str, status: &str| json!({"id": id, "data": {"status": status}});
    answer(&client, "packages_update", update("@acme/core", "published")).await;
    answer(&client, "packages_update", update("P1", "building")).await;
    let metadata = json!({"error": "tests failed", "failedPhase": "test", "attempts": 3, "buildId": "acme/tool.7"});
    let failed = json!({"id": "@acme/tool", "data": {"status": "failed", "metadata": metadata}});
    answer(&client, "packages_update", failed).await;

    let queue = answer(&client, "packages_get_build_queue", json!({})).await;
    assert_eq!(names(&queue), ["@acme/app"]);
    assert_eq!(queue["packages"][0]["status"], "building");
    let tool = answer(&client, "packages_get", json!({"id": "@acme/tool"})).await;
    assert_eq!((&tool["status"], &tool["metadata"]), (&json!("failed"), &metadata));
    let published = answer(&client, "packages_list", json!({"status": "published"})).await;
    assert_eq!(names(&published), ["@acme/core"]);
    let rest = answer(&client, "packages_list", json!({"after": "@acme/app", "limit": 1})).await;
    assert_eq!(names(&rest), ["@acme/core"]);

    answer(&client, "packages_update", update("P1", "queued")).await;
    let app = answer(&client, "packages_get", json!({"id": "P1"})).await;
    assert_eq!(app["status"], "ready", "a build that was handed back is to be built");
}

#[tokio::test]
async fn what_cannot_be_is_a_tool_error_of_one_line() {
    let folder = TempDir::new().unwrap();
    let client = in_process(&folder.path().join("packages.db")).await;
    add_the_example(&client).await;
    let line = refusal(&client, "packages_update", json!({"id": "@acme/none", "data": {"status": "failed"}})).await;
    assert!(line.contains("`@acme/none` is not in the catalogue"), "{line}");
    let line = refusal(&client, "packages_update", json!({"id": "@acme/core", "data": {"status": "do\nne"}})).await;
    assert!(line.contains("a status is ready, building, published or failed"), "{line}");
    let line = refusal(&client, "packages_add", json!({"name": "@acme/core"})).await;
    assert!(line.contains("already, as P2"), "{line}");
    for name in ["../x", "@a/..", "@a/-g", "a\nb", &"x".repeat(300), "ａcme", "", "P1", "x'; DROP TABLE packages;--"] {
        refusal(&client, "packages_add", json!({"name": name})).await;
        refusal(&client, "packages_add", json!({"name": "fine", "dependencies": [name]})).await;
    }
    for arguments in
        [json!({}), json!({"name": 7}), json!({"name": "a", "prio": 1}), json!({"name": "a", "priority": 1e12})]
    {
        refusal(&client, "packages_add", arguments).await;
    }
    for id in ["P99", "P", "P-1", "a'b", "\u{0}", ""] {
        refusal(&client, "packages_get", json!({"id": id})).await;
    }
    let large = json!({"id": "@acme/core", "data": {"status": "failed", "metadata": {"error": "x".repeat(100_000)}}});
    refusal(&client, "packages_update", large).await;
    refusal(&client, "packages_list", json!({"status": "gone"})).await;
    let unknown = client.call_tool(CallToolRequestParams::new("packages_drop")).await;
    assert!(matches!(unknown, Err(ServiceError::McpError(_))), "{unknown:?}");
    assert_eq!(names(&answer(&client, "packages_list", json!({})).await).len(), 3, "nothing was stored");
}

#[tokio::test]
async fn processes_share_one_database() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("packages.db");
    // all make the database at once
    let clients = futures::future::join_all((0..4).map(|_| as_a_process(&database))).await;
    let add = |client, n: usize| async move {
        for m in 0..25 {
            answer(client, "packages_add", json!({"name": format!("p{n}-{m}")})).await;
            let update = json!({"id": format!("p{n}-{m}"), "data": {"status": "building"}});
            answer(client, "packages_update", update).await;
        }
    };
    futures::future::join_all(clients.iter().enumerate().map(|(n, client)| add(client, n))).await;
    for client in clients {
        let queue = answer(&client, "packages_get_build_queue", json!({"limit": 1000})).await;
        assert_eq!(names(&queue).len(), 100);
        assert!(queue["packages"].as_array().unwrap().iter().all(|package| package["status"] == "building"));
        client.cancel().await.unwrap();
    }
    assert!(!folder.path().join("packages.db-wal").exists(), "the last one to leave tidied up");
}

#[tokio::test]
async fn statuses_outlive_a_killed_process() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("packages.db");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_packages-api"));
    command.arg("--database").arg(&database);
    let transport = TokioChildProcess::new(command).unwrap();
    let pid = transport.id().unwrap();
    let client = ().serve(transport).await.unwrap();
    add_the_example(&client).await;
    answer(&client, "packages_update", json!({"id": "@acme/core", "data": {"status": "published"}})).await;
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    client.waiting().await.unwrap();

    let client = as_a_process(&database).await;
    assert_eq!(names(&answer(&client, "packages_get_build_queue", json!({})).await), ["@acme/app", "@acme/tool"]);
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn it_ends_with_status_0_when_asked_to_and_when_its_stdin_ends() {
    let folder = TempDir::new().unwrap();
    for signalled in [true, false] {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_packages-api"));
        command.arg("--database").arg(folder.path().join("packages.db")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap().to_string();
        let (output, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let client = ().serve((output, input)).await.unwrap();
        let ended = tokio::spawn(async move { child.wait().await.unwrap() });
        if signalled {
            assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
        } else {
            client.cancel().await.unwrap();
        }
        assert_eq!(ended.await.unwrap().code(), Some(0));
    }
}
