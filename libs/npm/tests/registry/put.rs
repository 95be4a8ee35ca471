//! Publishing: what is sent, and what each end of it means.

use base64::{Engine, prelude::BASE64_STANDARD};
use packline_npm::{Access, Document, Kind, Refusal};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use std::{fs, time::Duration};

use crate::stand::{Reply, SOON, Stand, answer, client, nobody};

/// A version with this tarball, and the folder that it is in.
pub(crate) fn document(name: &str, tarball: &[u8]) -> (Document, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tgz");
    fs::write(&path, tarball).unwrap();
    let head = json!({"_id": name, "name": name, "dist-tags": {"latest": "1.0.0"}}).to_string();
    let integrity = format!("sha512-{}", BASE64_STANDARD.encode(Sha512::digest(tarball)));
    (Document { name: name.into(), version: "1.0.0".into(), head, tarball: path, integrity }, folder)
}

#[tokio::test]
async fn a_document_is_what_npm_sends() {
    for size in [0, 1, 2, 3, 1000, (48 << 10) - 1, 48 << 10, (48 << 10) + 1, 200_000] {
        let tarball: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let registry = Stand::new(|_| answer(201, &[], r#"{"ok": true}"#));
        let (document, _folder) = document("@acme/x", &tarball);
        registry.client_with("s3cret").put(&document, SOON).await.unwrap();
        let asked = registry.only();
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("PUT", "/@acme%2fx"));
        for (name, value) in [
            ("content-type", "application/json"),
            ("accept", "*/*"),
            ("user-agent", "packline/0"),
            ("npm-command", "publish"),
            ("authorization", "Bearer s3cret"),
            ("content-length", &asked.size.to_string()),
        ] {
            assert_eq!(asked.header(name), Some(value), "{name}");
        }
        assert_eq!((asked.header("transfer-encoding"), asked.header("npm-otp")), (None, None));
        let expected = json!({"_id": "@acme/x", "name": "@acme/x", "dist-tags": {"latest": "1.0.0"},
            "_attachments": {"@acme/x-1.0.0.tgz": {"content_type": "application/octet-stream",
            "data": BASE64_STANDARD.encode(&tarball), "length": size}}});
        assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap(), expected, "{size}");
    }
}

#[tokio::test]
async fn a_head_without_anything_is_a_document_too() {
    let registry = Stand::new(|_| answer(200, &[], ""));
    let (mut document, _folder) = document("x", b"t");
    document.head = "{}".to_owned();
    registry.client().put(&document, SOON).await.unwrap();
    let body: Value = serde_json::from_slice(&registry.only().body).unwrap();
    assert_eq!(body["_attachments"]["x-1.0.0.tgz"]["length"], 1);
}

#[tokio::test]
async fn another_tarball_is_not_sent() {
    let registry = Stand::new(|_| answer(200, &[], ""));
    let (document, _folder) = document("x", b"checked");
    fs::write(&document.tarball, b"another").unwrap();
    let refusal = registry.client().put(&document, SOON).await.unwrap_err();
    assert_eq!(refusal.kind, Kind::Permanent);
    assert!(refusal.message.contains("is not the tarball that was checked"), "{refusal}");
    fs::remove_file(&document.tarball).unwrap();
    let refusal = registry.client().put(&document, SOON).await.unwrap_err();
    assert_eq!(refusal.kind, Kind::Unavailable);
    assert!(refusal.message.contains("cannot be read"), "{refusal}");
    assert!(registry.seen().is_empty());
}

#[tokio::test]
async fn a_tarball_that_is_changed_while_it_is_sent_never_arrives_whole() {
    let (document, _folder) = document("x", &vec![0; 16 << 20]);
    let path = document.tarball.clone();
    // Far more is to come than fits between the two when the registry has read the head.
    let registry = Stand::new(move |_| {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"other", (16 << 20) - 5).unwrap();
        answer(200, &[], "")
    });
    let refusal = registry.client().put(&document, SOON).await.unwrap_err();
    assert_eq!(refusal.kind, Kind::NoAnswer);
    assert!(refusal.message.contains("changed while it was sent"), "{refusal}");
    assert!(registry.seen().is_empty(), "the request never was complete");
}

#[tokio::test]
async fn without_an_answer_it_is_not_known_what_came_of_it() {
    let (document, _folder) = document("x", &vec![7; 8 << 20]);
    for reply in [|| Reply::Close, || Reply::Hang] {
        let registry = Stand::new(move |_| reply());
        let refusal = registry.client().put(&document, SOON).await.unwrap_err();
        assert_eq!(refusal.kind, Kind::NoAnswer, "{refusal}");
        assert!(refusal.message.starts_with(&format!("{} did not answer", registry.url)), "{refusal}");
        assert_eq!(registry.seen().len(), 1, "never sent twice");
    }
}

#[tokio::test]
async fn a_registry_that_keeps_silent_is_left_in_time() {
    let registry = Stand::new(|_| Reply::Silence);
    let (document, _folder) = document("x", b"tarball");
    // Long enough to send it on a busy machine.
    let refusal = registry.client().put(&document, Duration::from_secs(3)).await.unwrap_err();
    let message = format!("{} did not answer the request for x@1.0.0 within the timeout", registry.url);
    assert_eq!(refusal, Refusal { kind: Kind::NoAnswer, message });
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_sent() {
    let (document, _folder) = document("x", b"tarball");
    let (dead, unknown) = (nobody(), "http://registry.invalid".to_owned());
    for url in [&dead, &unknown] {
        let client = client(&Access::open(url));
        for refusal in [client.put(&document, SOON).await.unwrap_err(), client.look("x", SOON).await.unwrap_err()] {
            assert_eq!(refusal.kind, Kind::Unavailable, "{refusal}");
            assert!(refusal.message.starts_with(&format!("{url} cannot be reached: ")), "{refusal}");
        }
    }
}

#[tokio::test]
async fn a_refusal_before_the_end_of_the_upload_is_heard() {
    let Reply::Answer(refused) = answer(413, &[], r#"{"error": "too large"}"#) else { unreachable!() };
    let registry = Stand::new(move |_| Reply::Early(refused.clone()));
    let (document, _folder) = document("x", &vec![7; 8 << 20]);
    let refusal = registry.client().put(&document, SOON).await.unwrap_err();
    assert_eq!(refusal.kind, Kind::Unavailable, "{refusal}");
    assert!(refusal.message.contains("bytes is too large (413: too large)"), "{refusal}");
    let size: u64 = registry.only().header("content-length").unwrap().parse().unwrap();
    assert!(refusal.message.contains(&format!("a request of {size} bytes")), "{refusal}");
}

#[tokio::test]
async fn each_status_is_what_its_sender_means() {
    let (document, _folder) = document("x", b"tarball");
    let busy = |seconds| Kind::Busy { wait: Some(Duration::from_secs(seconds)) };
    for (status, headers, kind) in [
        (200, &[][..], None),
        (201, &[][..], None),
        (400, &[][..], Some(Kind::Permanent)),
        (401, &[("www-authenticate", "OTP")][..], Some(Kind::Permanent)),
        (402, &[][..], Some(Kind::Permanent)),
        (403, &[][..], Some(Kind::Permanent)),
        (404, &[][..], Some(Kind::Unavailable)),
        (409, &[][..], Some(Kind::Exists)),
        (422, &[][..], Some(Kind::Permanent)),
        (429, &[("retry-after", "3")][..], Some(busy(3))),
        (500, &[][..], Some(Kind::Unavailable)),
        (503, &[][..], Some(Kind::Unavailable)),
    ] {
        let registry = Stand::new(move |_| answer(status, headers, "why"));
        let ended = registry.client_with("s3cret").put(&document, SOON).await;
        assert_eq!(ended.as_ref().err().map(|refusal| refusal.kind.clone()), kind, "{status} {ended:?}");
        assert_eq!(registry.seen().len(), 1, "never sent twice");
    }
}

#[tokio::test]
async fn a_name_stays_below_the_registry() {
    let registry = Stand::new(|_| answer(404, &[], ""));
    for name in ["../x", "x?write=true", "a/b/c", "x#y", " x"] {
        assert_eq!(registry.client().look(name, SOON).await, Ok(None), "{name}");
    }
    let targets: Vec<String> = registry.seen().into_iter().map(|asked| asked.target).collect();
    assert_eq!(targets, ["/..%2fx", "/x%3Fwrite%3Dtrue", "/a%2fb%2fc", "/x%23y", "/%20x"]);
    for name in ["", ".", ".."] {
        assert_eq!(registry.client().look(name, SOON).await.unwrap_err().kind, Kind::Permanent);
    }
}
