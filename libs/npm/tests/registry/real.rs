//! The same against a real registry.

use std::fs;

use packline_npm::{Access, Kind};
use packline_testkit::registry::Registry;
use serde_json::{Value, json};

use crate::{
    put::document,
    stand::{SOON, client},
};

#[tokio::test]
async fn what_is_published_is_there_and_is_not_published_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(&folder.path().join("registry")).await.unwrap();
    let client = client(&Access::open(&registry.url()).with_token("nobody"));
    assert_eq!(client.look("@acme/x", SOON).await, Ok(None));
    let (mut document, _kept) = document("@acme/x", b"a tarball");
    let integrity = document.integrity.clone();
    let manifest = json!({"name": "@acme/x", "version": "1.0.0", "_id": "@acme/x@1.0.0", "dist": {
        "integrity": integrity, "tarball": format!("{}/@acme/x/-/@acme/x-1.0.0.tgz", registry.url())}});
    let mut head: Value = serde_json::from_str(&document.head).unwrap();
    head["versions"] = json!({"1.0.0": manifest});
    document.head = head.to_string();
    client.put(&document, SOON).await.unwrap();
    let found = client.look("@acme/x", SOON).await.unwrap().unwrap();
    assert_eq!(found.tags["latest"], "1.0.0");
    assert!(found.versions["1.0.0"].has_integrity(&integrity), "{found:?}");
    let to = folder.path().join("fetched");
    client.download(found.versions["1.0.0"].tarball.as_deref().unwrap(), &to, 100, SOON).await.unwrap();
    assert_eq!(fs::read(to).unwrap(), b"a tarball");
    assert_eq!(client.put(&document, SOON).await.unwrap_err().kind, Kind::Exists);
}
