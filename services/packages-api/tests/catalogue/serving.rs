//! Starting, serving many, stopping.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use futures::future::join_all;
use packline_testkit::{http::stranger, process::command};
use rmcp::{ServiceExt, transport::TokioChildProcess};
use serde_json::json;

use crate::served::{Served, call};

/// Exit status and complaint of a `packages-api` that cannot start.
fn refused(arguments: &[&str], token: Option<&str>) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut program = command(env!("CARGO_BIN_EXE_packages-api"));
    program.arg("--database").arg(folder.path().join("packages.db")).args(arguments).env_remove("MCP_TOKEN");
    let ended = program.envs(token.map(|token| ("MCP_TOKEN", token))).output().unwrap();
    assert!(ended.stdout.is_empty(), "stdout belongs to the protocol and to the URL");
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[tokio::test]
async fn what_cannot_be_served_is_one_line_and_exit_status_2() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = held.local_addr().unwrap().to_string();
    for (arguments, token, said) in [
        (["--http", "0.0.0.0:0"], None, "set MCP_TOKEN, or serve on 127.0.0.1:0"),
        (["--http", "[::]:0"], None, "set MCP_TOKEN"),
        (["--http", "127.0.0.1:0"], Some(""), "MCP_TOKEN is empty"),
        (["--http", &held], None, "MCP_HTTP_ADDR: failed to listen on"),
        (["--http", "192.0.2.1:0"], Some("t"), "MCP_HTTP_ADDR: failed to listen on"),
    ] {
        let (code, complaint) = refused(&arguments, token);
        assert_eq!(code, Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(said) && complaint.lines().count() == 1, "{arguments:?}: {complaint}");
    }
    assert_eq!(refused(&["--http", "8080"], None).0, Some(2));
}

#[tokio::test]
async fn many_clients_over_http_and_over_stdio_share_one_database() {
    let served = Served::start(&[]).await;
    let mut beside = tokio::process::Command::new(env!("CARGO_BIN_EXE_packages-api"));
    beside.arg("--database").arg(&served.database);
    let mut clients = vec![().serve(TokioChildProcess::new(beside).unwrap()).await.unwrap()];
    clients.extend(join_all((0..4).map(|_| served.client(None))).await);
    join_all(clients.iter().enumerate().map(|(n, client)| async move {
        for m in 0..20 {
            let name = format!("p{n}-{m}");
            call(client, "packages_add", json!({"name": name})).await;
            call(client, "packages_update", json!({"id": name, "data": {"status": "building"}})).await;
        }
    }))
    .await;
    for client in clients {
        let counts = call(&client, "packages_counts", json!({})).await;
        assert_eq!(counts, json!({"ready": 0, "building": 100, "published": 0, "failed": 0}));
        client.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_goes_on_when_the_catalogue_was_killed_and_started_again() {
    let served = Served::start(&[]).await;
    let client = served.client(None).await;
    call(&client, "packages_add", json!({"name": "a"})).await;
    served.process.kill().await;
    let mut again = command(env!("CARGO_BIN_EXE_packages-api"));
    again.args(["--http", &served.authority(), "--database"]).arg(&served.database);
    let log = served.database.with_extension("log");
    let again = packline_testkit::process::Process::spawn("packages-api", again, &log).unwrap();
    while stranger().get(served.page()).send().await.is_err() {
        assert!(again.is_running(), "{}", again.printed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(call(&client, "packages_counts", json!({})).await["ready"], 1);
}

#[tokio::test]
async fn asked_to_stop_it_ends_with_status_0_whatever_its_clients_hold_open() {
    let served = Served::start(&[]).await;
    let client = served.client(None).await;
    call(&client, "packages_add", json!({"name": "a"})).await;
    let mut idle = TcpStream::connect(served.authority()).unwrap();
    write!(idle, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 16]).unwrap() > 0);
    let mut half = TcpStream::connect(served.authority()).unwrap();
    write!(half, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{").unwrap();
    assert_eq!(served.process.stop(Duration::from_secs(60)).await.code(), Some(0));
    assert!(!served.database.with_extension("db-wal").exists(), "the last one to leave tidied up");
}
