//! 2,000 hostile names at every door: none becomes a path, a subject, a key or an argument that was not
//! meant, each that is refused is a dead letter, and what is announced afterwards is built.
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use packline_broker::{Message, StreamName};
use packline_domain::PackageName;
use packline_testkit::{catalogue::Catalogue, process::command, tools};
use packline_tests::{Bare, NatsPy, fixture, hostile_names, is_token};
use serde_json::{Value, json};

const NAMES: usize = 2000;
/// Items of one announcement: as many as are refused one by one.
const MESSAGE: usize = 100;

/// Waits until the leader has applied a message.
async fn applied(line: &Bare, stream: &str, sequence: u64) {
    let pointer = format!("/positions/{stream}/sequence");
    line.until("leader", |leader| {
        leader.and_then(|leader| leader.pointer(&pointer)?.as_u64()).is_some_and(|at| at >= sequence)
    })
    .await
    .unwrap();
}

/// Waits until as many dead letters of this kind are there, and shows that there are no more.
async fn dead_letters(line: &Bare, python: &NatsPy, kind: &str, expected: usize) {
    let subject = format!("dead.{kind}");
    let mut found = 0;
    for _ in 0..200 {
        let subjects = python.run(&[json!(["subjects", "DEAD"])]).await.unwrap();
        found = subjects[0][&subject].as_u64().unwrap_or(0);
        if found >= expected as u64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(found, expected as u64, "{subject}\n{}", line.logs());
}

/// Shows that the broker holds no subject and no key that was not meant.
async fn all_is_within_the_grammar(python: &NatsPy) {
    let streams: Vec<Value> = StreamName::ALL.iter().map(|stream| json!(["subjects", stream.as_str()])).collect();
    for (subjects, stream) in python.run(&streams).await.unwrap().iter().zip(StreamName::ALL) {
        for subject in subjects.as_object().unwrap().keys() {
            let prefix = stream.subject().trim_end_matches(['*', '>']);
            let rest = subject.strip_prefix(prefix).unwrap_or_else(|| panic!("{subject} in {}", stream.as_str()));
            let fine = match stream {
                StreamName::Logs => rest.rsplit_once('.').is_some_and(|(key, serial)| {
                    PackageName::from_key(key).is_ok() && serial.bytes().all(|byte| byte.is_ascii_digit())
                }),
                StreamName::Control | StreamName::Events | StreamName::Dead => {
                    is_token(rest) && !rest.contains(['/', '='])
                }
                StreamName::Packages | StreamName::Status | StreamName::Builds | StreamName::Results => rest.is_empty(),
            };
            assert!(fine, "{subject} in {}", stream.as_str());
        }
    }
    let buckets = ["orchestrator", "workers", "poller"].map(|bucket| json!(["keys", bucket]));
    let keys = python.run(&buckets).await.unwrap();
    for key in keys.iter().flat_map(|keys| keys.as_array().unwrap()) {
        let key = key.as_str().unwrap();
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let fine = match key.split_once('.') {
            None => is_token(key) && !key.contains(['/', '=']),
            Some(("queue" | "retries" | "refused", name)) => is_token(name) && PackageName::from_key(name).is_ok(),
            Some(("permits" | "effects", text)) => number(text),
            Some(_) => false,
        };
        assert!(fine, "{key}");
    }
}

/// Shows that nothing lies where nothing was meant to be.
fn nothing_lies_outside(line: &Bare, made: &[&str]) {
    let names = |folder: &Path| -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(line.outside()), ["line"]);
    for name in names(&line.folder()) {
        let log_or_scratch = name.ends_with(".log") || name.ends_with(".scratch");
        assert!(log_or_scratch || made.contains(&name.as_str()), "{name:?} was made");
        if name.ends_with(".scratch") {
            assert_eq!(names(&line.folder().join(&name)), Vec::<String>::new());
        }
    }
    assert!(!Path::new("/tmp/packline-hostile").exists());
}

/// Shows that the line still works.
async fn a_good_package_is_built(line: &Bare, package: &str) {
    line.announce(json!({"name": package}).to_string()).await.unwrap();
    line.until_state(package, "published").await.unwrap();
    assert!(line.orchestrator.is_running() && line.workers.iter().all(|worker| worker.is_running()));
    for process in line.workers.iter().chain([&line.orchestrator]) {
        assert!(!process.printed().contains("panicked"), "{}", process.printed());
    }
}

async fn started() -> (Bare, NatsPy) {
    let mut line = Bare::start(&[("MAX_CONCURRENT", "64"), ("RUST_LOG", "warn")]).await.unwrap();
    line.add_worker(64).unwrap();
    let python = NatsPy::at(&line.server.url()).await.unwrap();
    (line, python)
}

/// The names in the dead letters of a kind, with how often each is there.
async fn refused_names(python: &NatsPy, of: impl Fn(&Value) -> Vec<Value>) -> BTreeMap<String, usize> {
    let dump = python.run(&[json!(["dump", "DEAD"])]).await.unwrap();
    let mut names = BTreeMap::new();
    for letter in dump[0].as_array().unwrap() {
        let reason = letter["headers"]["Reason"].as_str().unwrap();
        assert!(!reason.is_empty() && !reason.contains(['\n', '\0', '\u{1b}']), "{reason:?}");
        let payload: Value = serde_json::from_str(letter["text"].as_str().unwrap()).unwrap();
        for name in of(&payload) {
            *names.entry(name.as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_as_a_name_or_a_dependency_each_is_a_dead_letter_and_nothing_else() {
    let (line, python) = started().await;
    let names = hostile_names(NAMES);
    let mut messages = Vec::new();
    for chunk in names.chunks(MESSAGE) {
        let packages: Vec<Value> = chunk.iter().map(|name| json!({ "name": name })).collect();
        messages.push(Message::new("packages.new", json!(packages).to_string()));
        let packages: Vec<Value> =
            chunk.iter().map(|name| json!({"name": "@acme/core", "dependencies": ["@acme/base", name]})).collect();
        messages.push(Message::new("packages.new", json!({"reportedThrough": 0, "packages": packages}).to_string()));
    }
    let mut last = messages.len() as u64;
    line.publish_once(messages).await;
    applied(&line, "PACKAGES", last).await;
    dead_letters(&line, &python, "packages", 2 * NAMES).await;
    let refused = refused_names(&python, |item| {
        let dependency = item["dependencies"].as_array().and_then(|names| names.last()).cloned();
        vec![dependency.unwrap_or_else(|| item["name"].clone())]
    })
    .await;
    for name in &names {
        assert_eq!(refused.get(name), Some(&2), "{name:?}");
    }
    assert_eq!(refused.len(), NAMES);

    // Whole messages: more bad items than are worth a letter each, and JSON that is odd.
    let many: Vec<Value> = names.iter().take(MESSAGE + 1).map(|name| json!({ "name": name })).collect();
    let odd: Vec<Vec<u8>> = vec![
        json!(many).to_string().into(),
        json!({"name": "x".repeat(1_000_000)}).to_string().into(),
        "[".repeat(100_000).into(),
        format!("{}1{}", r#"{"name":"#.repeat(20_000), "}".repeat(20_000)).into(),
        b"\xff\xfe{\"name\": \"a\"}".to_vec(),
        b"\xef\xbb\xbf{\"name\": \"../x\"}".to_vec(),
        br#"{"name": "\ud800"}"#.to_vec(),
        br#"{"name": "a"} {"name": "b"}"#.to_vec(),
        br#"{"name": NaN}"#.to_vec(),
        br#"{"name": null}"#.to_vec(),
        br#"{"name": 7}"#.to_vec(),
        br#"{"name": true}"#.to_vec(),
        br#"{"name": ["a"]}"#.to_vec(),
        br#"{"name": {"toString": "a"}}"#.to_vec(),
        br#"{"__proto__": {"name": "a"}}"#.to_vec(),
        br#"{"name": "a", "name": "../x"}"#.to_vec(),
        br#"{"Name": "a"}"#.to_vec(),
        br#"{"name": "a", "dependencies": {"../x": "*"}}"#.to_vec(),
        br#""../x""#.to_vec(),
        b"\0".to_vec(),
    ];
    let odd_ones = odd.len();
    last += odd_ones as u64;
    line.publish_once(odd.into_iter().map(|body| Message::new("packages.new", body)).collect()).await;
    applied(&line, "PACKAGES", last).await;
    dead_letters(&line, &python, "packages", 2 * NAMES + odd_ones).await;
    let keys = python.run(&[json!(["keys", "orchestrator"])]).await.unwrap();
    let queued = keys[0].as_array().unwrap().iter().filter(|key| key.as_str().unwrap().starts_with("queue."));
    assert_eq!(queued.count(), 0, "{keys:?}");

    a_good_package_is_built(&line, "@acme/core").await;
    all_is_within_the_grammar(&python).await;
    nothing_lies_outside(&line, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_id_and_category_they_are_words_and_name_nothing() {
    let (line, python) = started().await;
    // A category is a short word, and an id may be anything.
    let names = hostile_names(NAMES);
    let packages: Vec<Value> = names
        .chunks(2)
        .enumerate()
        .map(|(at, pair)| {
            let category: String = pair[1].chars().take(60).collect();
            json!({"name": format!("@acme/p{at}"), "id": pair[0], "category": category})
        })
        .collect();
    let messages = packages.chunks(200).map(|chunk| Message::new("packages.new", json!(chunk).to_string()));
    line.publish_once(messages.collect()).await;
    for at in [0, packages.len() / 2, packages.len() - 1] {
        let queue = line.until_state(&format!("@acme/p{at}"), "published").await.unwrap();
        assert_eq!(queue.package.id.as_deref(), packages[at]["id"].as_str());
        assert_eq!(Some(queue.package.category.as_str()), packages[at]["category"].as_str());
    }
    a_good_package_is_built(&line, "@acme/core").await;
    dead_letters(&line, &python, "packages", 0).await;
    all_is_within_the_grammar(&python).await;
    nothing_lies_outside(&line, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_command_or_an_order_each_is_a_dead_letter_and_nothing_else() {
    let (line, python) = started().await;
    let names = hostile_names(NAMES);
    let commands = names.iter().flat_map(|name| {
        let named = json!({"packageName": name, "by": name, "reason": name});
        [Message::json("control.cancel", &named), Message::json("control.requeue", name)]
    });
    line.publish_once(commands.collect()).await;
    // Who and why may be anything.
    let pauses =
        names.iter().step_by(20).map(|name| Message::json("control.pause", &json!({"by": name, "reason": name})));
    line.publish_once(pauses.collect()).await;
    line.broker.publish(Message::new("control.resume", "")).await.unwrap();
    let orders = names.iter().step_by(20).map(|name| {
        let order = json!({"buildId": "acme/core.1", "attempt": 1, "permit": 0, "permitRevision": 1,
            "grantedAt": "2026-01-01T00:00:00Z", "packageName": name, "packagePath": format!("packages/{name}"),
            "planPath": "plans/core.md", "category": "unknown", "dependencies": [], "priority": 0, "deadlineSeconds": 60});
        Message::new("builds.start", order.to_string())
    });
    line.publish_once(orders.collect()).await;
    applied(&line, "CONTROL", (2 * NAMES + NAMES / 20 + 1) as u64).await;
    dead_letters(&line, &python, "control", 2 * NAMES).await;
    dead_letters(&line, &python, "order", NAMES / 20).await;
    let name = |item: &Value| if item.is_string() { item.clone() } else { item["packageName"].clone() };
    let refused = refused_names(&python, |item| vec![name(item)]).await;
    for (at, name) in names.iter().enumerate() {
        assert_eq!(refused.get(name), Some(&(2 + usize::from(at % 20 == 0))), "{name:?}");
    }
    a_good_package_is_built(&line, "@acme/core").await;
    all_is_within_the_grammar(&python).await;
    nothing_lies_outside(&line, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_catalogue_each_is_a_dead_letter_and_the_good_ones_are_built() {
    let (line, python) = started().await;
    let names = hostile_names(NAMES);
    let mut packages: Vec<Value> = names.iter().map(|name| json!({"name": name, "status": "ready"})).collect();
    packages.insert(700, json!({"name": "@acme/core", "status": "ready"}));
    packages.extend(names.iter().enumerate().map(|(at, name)| {
        json!({"name": format!("@acme/needy-{at}"), "dependencies": ["@acme/core", name], "status": "ready"})
    }));
    let answer = line.folder().join("answer.json");
    fs::write(&answer, json!({ "packages": packages }).to_string()).unwrap();
    let program = tools::python().await.unwrap().program;
    let server = format!("'{}' '{}' '{}'", program.display(), fixture("catalogue.py").display(), answer.display());
    let settings = [("MCP_COMMAND", server.as_str()), ("POLL_LIMIT", "10000")];
    let poller = line.line().poller("poller", &settings).unwrap();
    line.until_state("@acme/core", "published").await.unwrap();
    dead_letters(&line, &python, "catalogue", 2 * NAMES).await;
    let refused = refused_names(&python, |item| {
        let dependency = item["dependencies"].as_array().and_then(|names| names.last()).cloned();
        vec![dependency.unwrap_or_else(|| item["name"].clone())]
    })
    .await;
    assert!(names.iter().all(|name| refused.get(name) == Some(&2)));
    assert!(poller.is_running() && !poller.printed().contains("panicked"), "{}", poller.printed());
    a_good_package_is_built(&line, "@acme/other").await;
    all_is_within_the_grammar(&python).await;
    nothing_lies_outside(&line, &["answer.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_workspace_each_is_left_out_by_name_and_the_good_ones_are_found() {
    let line = Bare::start(&[]).await.unwrap();
    let workspace = tempfile::tempdir().unwrap();
    fs::write(workspace.path().join("package.json"), r#"{"private": true, "workspaces": ["packages/*"]}"#).unwrap();
    let put = |folder: &str, manifest: Value| {
        let folder = workspace.path().join("packages").join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
    };
    for (at, name) in hostile_names(NAMES).iter().enumerate() {
        put(&format!("p{at}"), json!({ "name": name, "version": "1.0.0" }));
    }
    let hostile: serde_json::Map<_, _> = hostile_names(NAMES).into_iter().map(|name| (name, json!("*"))).collect();
    put("core", json!({"name": "@acme/core", "version": "1.0.0", "dependencies": hostile}));
    put("with a\nbreak", json!({"name": "@acme/broken", "version": "1.0.0"}));
    let database = line.folder().join("packages.db");
    let mut scan = command(line.line().binaries().path("packages-api"));
    let said = scan.arg("scan").arg(workspace.path()).arg("--database").arg(&database).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
    let left_out =
        |at: usize| said.lines().filter(|line| line.contains(&format!("packages/p{at} is left out: "))).count();
    let is_empty = |at: usize| hostile_names(NAMES).get(at).is_some_and(String::is_empty);
    assert!((0..NAMES).all(|at| is_empty(at) || left_out(at) == 1), "{said}");
    let empty = (0..NAMES).find(|at| is_empty(*at)).unwrap();
    assert!(said.contains(&format!("without a name or a version, so not built: packages/p{empty}\n")), "{said}");
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
    let catalogue = Catalogue::empty(line.line().binaries(), &database);
    let found = catalogue.packages().await.unwrap();
    let found: Vec<_> =
        found.iter().map(|package| (package["name"].as_str().unwrap(), &package["dependencies"])).collect();
    assert_eq!(found, [("@acme/broken", &json!([])), ("@acme/core", &json!([]))]);
}
