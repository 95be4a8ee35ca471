//! Asking a catalogue, without a broker.

use std::time::{Duration, Instant};

use packline_poller::{catalogue::Catalogue, session::CallError};
use packline_service::Shutdown;
use packline_testkit::http::use_ring;
use serde_json::{Value, json};

use crate::{
    config,
    scripted::{Reply, Script, TOKEN},
    within,
};

fn over_http(script: &Script, more: &[&str]) -> Catalogue {
    use_ring();
    let arguments = [&["--mcp-url", script.url(), "--mcp-token", TOKEN], more].concat();
    Catalogue::new(&config("nats://127.0.0.1:1", &arguments)).unwrap()
}

fn over_stdio(command: &str, more: &[&str]) -> Catalogue {
    Catalogue::new(&config("nats://127.0.0.1:1", &[&["--mcp-command", command], more].concat())).unwrap()
}

async fn queue(catalogue: &Catalogue) -> Result<Vec<Value>, CallError> {
    within("an answer", catalogue.queue(&Shutdown::default())).await
}

#[tokio::test]
async fn a_catalogue_over_http_is_asked_with_its_token() {
    let script = Script::of(&["a", "b"]).await;
    assert_eq!(queue(&over_http(&script, &[])).await.unwrap().len(), 2);
    assert_eq!(script.calls("packages_get_build_queue"), [json!({"limit": 50})]);

    use_ring();
    let stranger = Catalogue::new(&config("nats://127.0.0.1:1", &["--mcp-url", script.url(), "--mcp-token", "guess"]));
    let refused = queue(&stranger.unwrap()).await.unwrap_err();
    assert!(matches!(refused, CallError::Broken(_)), "{refused:?}");
    assert!(!refused.to_string().contains("guess") && !refused.to_string().contains('\n'), "{refused}");
}

#[tokio::test]
async fn while_an_answer_is_full_twice_as_many_are_asked_for() {
    let packages: Vec<String> = (0..10).map(|n| format!("p{n}")).collect();
    let script = Script::of(&packages.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(queue(&over_http(&script, &["--poll-limit", "3"])).await.unwrap().len(), 10);
    let limits: Vec<Value> =
        script.calls("packages_get_build_queue").iter().map(|call| call["limit"].clone()).collect();
    assert_eq!(limits, [3, 6, 12]);
}

#[tokio::test]
async fn one_that_refuses_twice_as_many_is_taken_at_its_last_answer() {
    let script = Script::of(&[]).await;
    let packages: Vec<Value> = (0..300).map(|n| json!({ "name": format!("p{n}") })).collect();
    script.answers(Reply::FirstUpTo(100, packages.clone()));
    assert_eq!(queue(&over_http(&script, &[])).await.unwrap(), packages[..100]);
    let limits: Vec<Value> =
        script.calls("packages_get_build_queue").iter().map(|call| call["limit"].clone()).collect();
    assert_eq!(limits, [50, 100, 200]);
    let refused = queue(&over_http(&script, &["--poll-limit", "101"])).await;
    assert_eq!(refused, Err(CallError::Refused("limit is at most 100".into())), "there is no answer before it");
}

#[tokio::test]
async fn an_empty_answer_is_one_and_neither_errors_nor_rubbish_are() {
    let script = Script::of(&[]).await;
    let catalogue = over_http(&script, &[]);
    assert_eq!(queue(&catalogue).await, Ok(vec![]));
    for (reply, expected) in [
        (Reply::ToolError("the database\nis gone"), CallError::Refused("the database is gone".into())),
        (Reply::ProtocolError("out of memory"), CallError::Failed("out of memory".into())),
        (Reply::Is(json!({"items": []})), CallError::Failed("its answer has no array `packages`".into())),
    ] {
        script.answers(reply);
        assert_eq!(queue(&catalogue).await, Err(expected));
    }
    script.answers(Reply::Text("nothing today"));
    let rubbish = queue(&catalogue).await.unwrap_err().to_string();
    assert!(rubbish.starts_with("it failed: its answer is not JSON"), "{rubbish}");
    script.answers(Reply::Text(r#"{"packages": [{"name": "a"}]}"#));
    assert_eq!(queue(&catalogue).await, Ok(vec![json!({"name": "a"})]));
    let wrong_tool = over_http(&script, &["--mcp-queue-tool", "list_all"]);
    assert_eq!(queue(&wrong_tool).await, Err(CallError::Refused("unknown tool list_all".into())));
}

#[tokio::test]
async fn a_catalogue_that_never_answers_is_given_up_in_time() {
    let script = Script::of(&["a"]).await;
    script.answers(Reply::Never);
    let since = Instant::now();
    let answer = queue(&over_http(&script, &["--mcp-timeout", "300ms"])).await;
    assert_eq!(answer, Err(CallError::TimedOut(Duration::from_millis(300))));
    assert!(since.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_catalogue_that_is_down_is_an_error_of_one_line() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    use_ring();
    let down = Catalogue::new(&config("nats://127.0.0.1:1", &["--mcp-url", &format!("http://{free}/mcp")])).unwrap();
    for catalogue in
        [down, over_stdio("/nowhere/catalogue", &[]), over_stdio("false", &[]), over_stdio("echo rubbish", &[])]
    {
        let error = queue(&catalogue).await.unwrap_err();
        assert!(matches!(error, CallError::Broken(_)), "{error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_program_that_does_not_speak_is_ended_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    // the shell does not heed SIGTERM, and its child does not know of the end of its stdin
    let script = format!("trap '' TERM; sleep 1000 & echo $$ $! > {}; cat > /dev/null; wait", pids.display());
    let catalogue = over_stdio(&format!("sh -c \"{}\"", script.replace('$', "\\$")), &["--mcp-timeout", "1s"]);
    assert_eq!(queue(&catalogue).await, Err(CallError::TimedOut(Duration::from_secs(1))));
    let pids = std::fs::read_to_string(pids).unwrap();
    for pid in pids.split_whitespace() {
        within("its end", async {
            while is_alive(pid) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

/// Whether a process runs; one that ended and is not waited for does not.
fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn one_that_is_asked_to_stop_waits_for_no_answer() {
    let script = Script::of(&["a"]).await;
    script.answers(Reply::Never);
    let (catalogue, shutdown) = (over_http(&script, &[]), Shutdown::default());
    let asking = catalogue.queue(&shutdown);
    let stopping = async {
        script.until("the question", |script| !script.calls("packages_get_build_queue").is_empty()).await;
        shutdown.request();
    };
    let (answer, ()) = within("its end", async { tokio::join!(asking, stopping) }).await;
    assert!(answer.is_err());
}
