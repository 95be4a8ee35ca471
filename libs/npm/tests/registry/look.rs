//! Looking a package up, and fetching a tarball.

use std::{fs, time::Duration};

use packline_npm::{Access, Client, Kind, Unusable};

use crate::stand::{Reply, SOON, Stand, answer, client};

#[tokio::test]
async fn a_package_is_asked_for_past_every_cache() {
    let body = r#"{"dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"dist": {"shasum": "ff"}}}}"#;
    let registry = Stand::new(move |_| answer(200, &[], body));
    let found = client(&Access::open(&format!("{}/npm/", registry.url))).look("@acme/x", SOON).await.unwrap().unwrap();
    assert_eq!(found.tags["latest"], "1.0.0");
    assert_eq!(found.versions["1.0.0"].shasum.as_deref(), Some("ff"));
    let asked = registry.only();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/npm/@acme%2fx"));
    let accept = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*";
    for (name, value) in
        [("accept", Some(accept)), ("cache-control", Some("no-cache")), ("authorization", None), ("npm-command", None)]
    {
        assert_eq!(asked.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_text_that_is_cut_within_a_character_hides_no_version() {
    let body = r#"{"description": "cut \ud83d", "versions": {"1.0.0": {"deprecated": "cut \ud83d", "dist": {"shasum": "ff"}}}}"#;
    let registry = Stand::new(move |_| answer(200, &[], body));
    let found = registry.client().look("x", SOON).await.unwrap().unwrap();
    assert_eq!(found.versions["1.0.0"].deprecated.as_deref(), Some("cut \u{FFFD}"));
    assert_eq!(found.versions["1.0.0"].shasum.as_deref(), Some("ff"));
}

#[tokio::test]
async fn what_is_no_document_is_said() {
    for (body, expected) in [
        ("<html>", "its answer is not a package document"),
        ("", "its answer is not a package document"),
        ("[1]", "its answer is not a package document"),
        (r#"{"versions": {"#, "its answer is not a package document: expected a key"),
    ] {
        let registry = Stand::new(move |_| answer(200, &[], body));
        let refusal = registry.client().look("x", SOON).await.unwrap_err();
        assert_eq!(refusal.kind, Kind::Unavailable);
        assert!(refusal.message.starts_with(&format!("{}: {expected}", registry.url)), "{refusal}");
    }
}

#[tokio::test]
async fn a_document_without_end_is_not_read() {
    let registry = Stand::new(|_| {
        let mut endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        endless.resize(endless.len() + (64 << 20) + 1, b' ');
        Reply::Answer(endless)
    });
    let refusal = registry.client().look("x", SOON).await.unwrap_err();
    assert!(refusal.message.contains("its document of x is larger than 67108864 bytes"), "{refusal}");
}

#[tokio::test]
async fn a_look_without_an_answer_says_so() {
    for reply in [|| Reply::Close, || Reply::Hang] {
        let registry = Stand::new(move |_| reply());
        let refusal = registry.client().look("x", SOON).await.unwrap_err();
        assert_eq!(refusal.kind, Kind::Unavailable);
        assert!(refusal.message.starts_with(&format!("{} did not answer: ", registry.url)), "{refusal}");
    }
}

#[tokio::test]
async fn a_tarball_is_fetched_whole_or_not_at_all() {
    let whole = Stand::new(|_| answer(200, &[], "tarball"));
    let short = Stand::new(|_| Reply::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ntarball".to_vec()));
    let absent = Stand::new(|_| answer(404, &[], ""));
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x.tgz");
    whole.client().download("x.tgz", &to, 7, SOON).await.unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "tarball");
    let refusal = whole.client().download("y.tgz", &to, 7, SOON).await.unwrap_err();
    assert!(refusal.message.contains("cannot be written"), "{refusal}");
    assert_eq!(fs::read_to_string(&to).unwrap(), "tarball", "what is there stays");
    fs::remove_file(&to).unwrap();
    for (stand, limit, kind, expected) in [
        (&whole, 6, Kind::Permanent, "is larger than 6 bytes"),
        (&short, 100, Kind::Unavailable, "did not answer"),
        (&absent, 100, Kind::Permanent, "does not have x.tgz (404)"),
    ] {
        let refusal = stand.client().download("x.tgz", &to, limit, SOON).await.unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal}");
        assert!(refusal.message.contains(expected), "{refusal}");
        assert!(!to.exists());
    }
    let refusal = whole.client().download("x.tgz", &folder.path().join("no/x"), 9, SOON).await.unwrap_err();
    assert!(refusal.message.contains("cannot be written"), "{refusal}");
    assert_eq!(whole.client().download("ftp://h/x", &to, 9, SOON).await.unwrap_err().kind, Kind::Unavailable);
}

#[tokio::test]
async fn a_slow_registry_is_left_in_time() {
    let registry = Stand::new(|_| Reply::Silence);
    let refusal = registry.client().look("x", Duration::from_millis(500)).await.unwrap_err();
    assert_eq!(refusal.message, format!("{}: no answer within 0.5 s", registry.url));
    assert_eq!(refusal.kind, Kind::Unavailable);
}

#[test]
fn settings_that_cannot_be_used_are_said() {
    for registry in ["nonsense", "ftp://h", ""] {
        let expected = format!("`{registry}` is not the address of a registry: it must start with https:// or http://");
        let access = Access::open(registry);
        assert_eq!(Client::new(&access, "packline/0").err(), Some(Unusable(expected)));
    }
    assert!(Client::new(&Access::open("http://h"), "a\nb").is_err());
}
