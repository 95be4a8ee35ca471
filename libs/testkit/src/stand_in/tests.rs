use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{http::stranger, process::command, tools};

/// What npm sends for a version, with a tarball of so many bytes.
fn put_of(name: &str, version: &str, bytes: usize) -> Value {
    let tarball = vec![7; bytes];
    let integrity = format!("sha512-{}", BASE64_STANDARD.encode(Sha512::digest(&tarball)));
    let url = format!("http://elsewhere.example/{name}/-/{name}-{version}.tgz");
    json!({
        "_id": name, "name": name, "description": "d", "access": null, "dist-tags": { "latest": version },
        "versions": { version: {
            "name": name, "version": version, "readme": "R", "dist": { "integrity": integrity, "tarball": url }
        }},
        "_attachments": { format!("{name}-{version}.tgz"): {
            "content_type": "application/octet-stream", "data": BASE64_STANDARD.encode(&tarball), "length": bytes
        }},
    })
}

/// The status of an answer; `None` where there is none.
async fn put(stand_in: &StandIn, name: &str, body: &Value) -> Option<u16> {
    let url = format!("{}/{}", stand_in.url(), name.replace('/', "%2f"));
    Some(stranger().put(url).body(body.to_string()).send().await.ok()?.status().as_u16())
}

async fn get(stand_in: &StandIn, path: &str) -> (u16, Vec<u8>) {
    let answer = stranger().get(format!("{}{path}", stand_in.url())).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

async fn dial(stand_in: &StandIn) -> TcpStream {
    TcpStream::connect(stand_in.url().trim_start_matches("http://")).await.unwrap()
}

fn npm(stand_in: &StandIn, folder: &Path, arguments: &[&str]) -> String {
    let host = stand_in.url().replace("http:", "");
    fs::write(folder.join("npmrc"), format!("{host}/:_authToken=nobody\n")).unwrap();
    let mut npm = command("npm");
    npm.args(arguments).args(["--fetch-retries=0", "--no-audit", "--no-update-notifier", "--registry"]);
    npm.arg(stand_in.url()).arg("--userconfig").arg(folder.join("npmrc"));
    npm.arg("--cache").arg(folder.join("cache")).current_dir(folder);
    let ended = npm.output().unwrap();
    let (out, complaint) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}{complaint}");
    out.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_publishes_to_it_and_views_and_installs_from_it() {
    tools::node().await.unwrap();
    let stand_in = StandIn::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (core, app) = (folder.path().join("core"), folder.path().join("app"));
    for folder in [&core, &app] {
        fs::create_dir(folder).unwrap();
    }
    let manifest = json!({"name": "@acme/core", "version": "1.0.0", "main": "m.js", "files": ["m.js"]});
    fs::write(core.join("package.json"), manifest.to_string()).unwrap();
    fs::write(core.join("m.js"), "module.exports = 42").unwrap();
    npm(&stand_in, &core, &["publish"]);
    let [sent] = <[Request; 1]>::try_from(stand_in.puts("@acme/core")).unwrap();
    assert_eq!((sent.path.as_str(), sent.answered), ("/@acme%2fcore", Some(201)));
    assert_eq!(sent.header("authorization"), Some("Bearer nobody"));
    let integrity = &sent.json()["versions"]["1.0.0"]["dist"]["integrity"];
    assert_eq!(stand_in.document("@acme/core").unwrap()["versions"]["1.0.0"]["dist"]["integrity"], *integrity);

    let viewed: Value = serde_json::from_str(&npm(&stand_in, &app, &["view", "@acme/core", "--json"])).unwrap();
    assert_eq!((&viewed["version"], &viewed["dist"]["integrity"]), (&json!("1.0.0"), integrity));
    let url = viewed["dist"]["tarball"].as_str().unwrap();
    assert_eq!(url, format!("{}/@acme/core/-/core-1.0.0.tgz", stand_in.url()));

    fs::write(app.join("package.json"), "{}").unwrap();
    npm(&stand_in, &app, &["install", "@acme/core"]);
    assert_eq!(fs::read_to_string(app.join("node_modules/@acme/core/m.js")).unwrap(), "module.exports = 42");
    let asked = stand_in.requests();
    let abbreviated = asked.iter().any(|request| request.header("accept").is_some_and(|a| a.contains("install-v1")));
    assert!(abbreviated, "{asked:#?}");
    assert!(asked.iter().any(|request| request.path == "/@acme/core/-/core-1.0.0.tgz"), "{asked:#?}");
}

#[tokio::test]
async fn versions_add_up_a_second_put_of_one_is_a_conflict_and_what_is_unknown_is_not_found() {
    let stand_in = StandIn::start().await;
    for path in ["/-/ping", "/core", "/core/-/core-1.0.0.tgz", "/-/whoami", "/a/b/c"] {
        assert_eq!(get(&stand_in, path).await.0, if path == "/-/ping" { 200 } else { 404 }, "{path}");
    }
    for (version, status) in [("1.0.0", 201), ("1.1.0", 201), ("1.0.0", 409)] {
        assert_eq!(put(&stand_in, "core", &put_of("core", version, 5)).await, Some(status), "{version}");
    }
    assert_eq!(put(&stand_in, "@a/b", &put_of("@a/b", "1.0.0", 5)).await, Some(201));
    let shown: Value = serde_json::from_slice(&get(&stand_in, "/core").await.1).unwrap();
    assert_eq!(shown["dist-tags"], json!({"latest": "1.1.0"}));
    assert_eq!(shown["versions"].as_object().unwrap().len(), 2);
    assert_eq!((shown.get("_attachments"), shown.get("access")), (None, None));
    assert_eq!(get(&stand_in, "/core/-/core-1.1.0.tgz").await, (200, vec![7; 5]));
    assert_eq!(get(&stand_in, "/@a/b/-/b-1.0.0.tgz").await, (200, vec![7; 5]));
    assert_eq!(stand_in.tarball("@a/b", "1.0.0"), Some(vec![7; 5]));
    assert_eq!(stand_in.tarball("@a/b", "1.0.1"), None);
}

#[tokio::test]
async fn a_put_that_contradicts_itself_is_refused() {
    let stand_in = StandIn::start().await;
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 5] = [
        ("the name", |put| put["name"] = "other".into()),
        ("the length", |put| put["_attachments"]["core-1.0.0.tgz"]["length"] = 4.into()),
        ("the tarball", |put| put["_attachments"]["core-1.0.0.tgz"]["data"] = "AAAAAAA=".into()),
        ("its name", |put| put["_attachments"] = json!({"core.tgz": {}})),
        ("no versions", |put| put["versions"] = json!({})),
    ];
    for (what, change) in changes {
        let mut body = put_of("core", "1.0.0", 5);
        change(&mut body);
        assert_eq!(put(&stand_in, "core", &body).await, Some(400), "{what}");
        assert_eq!(stand_in.document("core"), None, "{what}");
    }
}

#[tokio::test]
async fn the_next_put_is_treated_as_told_and_the_one_after_it_normally() {
    use Behaviour::*;
    let busy = || self::Answer::new(429).header("retry-after", "7").body("later");
    let cases = [
        ("answered", Answer(busy()), Some(429), false),
        ("stored-answered", StoreThenAnswer(self::Answer::error(503, "gone")), Some(503), true),
        ("stored-closed", StoreThenClose, None, true),
        ("closed", Close, None, false),
        ("unread", CloseBeforeBody, None, false),
        ("accepted", Accept, Some(201), false),
        ("twice", Twice, Some(409), true),
        ("paced", Paced { bytes: 200, pause: Duration::from_millis(1) }, Some(201), true),
    ];
    let stand_in = StandIn::start().await;
    for (name, behaviour, status, is_stored) in cases {
        stand_in.next_put(behaviour);
        let body = put_of(name, "1.0.0", 500);
        assert_eq!(put(&stand_in, name, &body).await, status, "{name}");
        assert_eq!(stand_in.document(name).is_some(), is_stored, "{name}");
        let puts = stand_in.puts(name);
        let answers: Vec<_> = puts.iter().map(|put| put.answered).collect();
        let expected = if name == "twice" { vec![Some(201), Some(409)] } else { vec![status] };
        assert_eq!(answers, expected, "{name}");
        let is_read = puts.iter().all(|put| put.read_at.is_some() && put.json() == body);
        assert_eq!(is_read, name != "unread", "{name}");
        assert_eq!(put(&stand_in, name, &body).await, Some(if is_stored { 409 } else { 201 }), "{name}");
    }
    stand_in.next_get(Answer(busy()));
    let answer = stranger().get(format!("{}/core", stand_in.url())).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    assert_eq!(answer.text().await.unwrap(), "later");
}

#[tokio::test]
async fn a_version_is_shown_late() {
    let stand_in = StandIn::start().await;
    let versions = async || match get(&stand_in, "/core").await {
        (200, body) => serde_json::from_slice::<Value>(&body).unwrap()["versions"].as_object().unwrap().len(),
        (status, _) => usize::from(status),
    };
    stand_in.next_put(Behaviour::ShowLate(2));
    assert_eq!(put(&stand_in, "core", &put_of("core", "1.0.0", 1)).await, Some(201));
    assert_eq!([versions().await, versions().await, versions().await], [404, 404, 1]);
    stand_in.next_put(Behaviour::ShowLate(1));
    assert_eq!(put(&stand_in, "core", &put_of("core", "1.1.0", 1)).await, Some(201));
    assert_eq!([versions().await, versions().await], [1, 2]);
}

#[tokio::test]
async fn a_put_is_held_in_the_middle_and_before_its_answer() {
    let stand_in = StandIn::start().await;
    let (big, small) = (put_of("big", "1.0.0", 1_000_000), put_of("small", "1.0.0", 1));
    let middle = stand_in.hold_put_after(500_000);
    let answer = stand_in.hold_put_answer();
    let upload = async { put(&stand_in, "big", &big).await };
    let beside = async {
        middle.reached().await;
        let [held] = <[Request; 1]>::try_from(stand_in.puts("big")).unwrap();
        assert_eq!((held.read_at, held.answered, stand_in.document("big")), (None, None, None));
        let put_small = put(&stand_in, "small", &small);
        let release = async {
            answer.reached().await;
            assert!(stand_in.document("small").is_some() && stand_in.puts("small")[0].answered.is_none());
            answer.release();
        };
        assert_eq!(tokio::join!(put_small, release).0, Some(201));
        middle.release();
        assert_eq!(stand_in.until_puts("big", 1).await[0].json(), big);
    };
    assert_eq!(tokio::join!(upload, beside).0, Some(201));
    assert!(stand_in.document("big").is_some());
}

#[tokio::test]
async fn an_upload_that_is_broken_off_is_noted_and_not_stored() {
    let stand_in = StandIn::start().await;
    let middle = stand_in.hold_put_after(100);
    let body = put_of("core", "1.0.0", 500).to_string();
    let mut connection = dial(&stand_in).await;
    let request = format!("PUT /core HTTP/1.1\r\nContent-Length: {}\r\n\r\n{}", body.len(), &body[..200]);
    connection.write_all(request.as_bytes()).await.unwrap();
    middle.reached().await;
    drop(connection);
    middle.release();
    stand_in.until("what came of the body", |all| all.iter().any(|put| !put.body.is_empty())).await;
    let [broken] = <[Request; 1]>::try_from(stand_in.puts("core")).unwrap();
    assert_eq!((broken.body.len(), broken.read_at, broken.answered), (200, None, None));
    assert_eq!(stand_in.document("core"), None);
}

#[tokio::test]
async fn a_body_in_chunks_is_read() {
    let stand_in = StandIn::start().await;
    let body = put_of("core", "1.0.0", 10).to_string();
    let (first, second) = body.split_at(20);
    let request = format!(
        "PUT /core HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         14\r\n{first}\r\n{:x};x=y\r\n{second}\r\n0\r\n\r\n",
        second.len()
    );
    let mut connection = dial(&stand_in).await;
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(stand_in.document("core").is_some());
}
