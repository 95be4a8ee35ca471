//! Messages that are not quite JSON: they are read as npm reads them, and answered.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use packline_testkit::http::stranger;
use serde_json::Value;

use crate::served::Served;

const ADD: &[u8] = b"\xEF\xBB\xBF{\"jsonrpc\": \"2.0\", \"id\": 2, \"method\": \"tools/call\", \"params\": {\"name\": \"packages_add\",
    \"arguments\": {\"name\": \"@f/x\", \"name\": \"@f/a\", \"priority\": 3, \"category\": \"cut \\ud83d \xE9\"}}}";

fn is_added(answer: &Value) {
    let added = &answer["result"]["structuredContent"];
    assert_eq!(added["name"], "@f/a", "{answer}");
    assert_eq!(added["category"], "cut \u{FFFD} \u{FFFD}", "{answer}");
}

#[test]
fn over_stdio_half_a_character_and_a_key_that_stands_twice_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_packages-api"));
    program.arg("--database").arg(folder.path().join("packages.db"));
    let mut program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = program.stdin.take().unwrap();
    let mut answers = BufReader::new(program.stdout.take().unwrap()).lines();
    let initialize = r#"{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18",
        "capabilities": {}, "clientInfo": {"name": "cut \ud83d", "version": "1", "size": NaN}}}"#;
    writeln!(input, "{}", initialize.replace('\n', "")).unwrap();
    assert!(answers.next().unwrap().unwrap().contains("\"id\":1"));
    writeln!(input, r#"{{"jsonrpc": "2.0", "method": "notifications/initialized"}}"#).unwrap();
    let line: Vec<u8> = ADD.iter().copied().filter(|byte| *byte != b'\n').chain([b'\n']).collect();
    input.write_all(&line).unwrap();
    is_added(&serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap());
    drop(input);
    assert!(program.wait().unwrap().success());
}

#[tokio::test]
async fn over_http_they_are_read_too_and_what_is_no_json_is_refused() {
    let served = Served::start(&[]).await;
    let post = async |body: Vec<u8>| {
        let request = stranger().post(&served.url).header("content-type", "application/json");
        let request = request.header("accept", "application/json, text/event-stream");
        request.header("mcp-protocol-version", "2025-06-18").body(body).send().await.unwrap()
    };
    let answer = post(ADD.to_vec()).await;
    assert_eq!(answer.status(), 200);
    is_added(&serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap());
    assert!(post(b"{".to_vec()).await.status().is_client_error());
    assert_eq!(post(vec![b'1'; 2 << 20]).await.status(), 413);
}
