//! What opens a registry goes to that registry only.

use packline_npm::{DEFAULT_REGISTRY, Kind, Refusal};

use crate::{
    put::document,
    stand::{Asked, Reply, SOON, Stand, answer, client, settings},
};

const DOCUMENT: &str = r#"{"versions": {"1.0.0": {"dist": {"integrity": "sha512-x"}}}}"#;

fn to(place: String, status: u16) -> impl Fn(&Asked) -> Reply + Send + Sync {
    move |asked: &Asked| match asked.target.ends_with("/there") {
        true => answer(200, &[], DOCUMENT),
        false => answer(status, &[("location", &place)], ""),
    }
}

fn authorization(stand: &Stand) -> Vec<Option<String>> {
    stand.seen().iter().map(|asked| asked.header("authorization").map(str::to_owned)).collect()
}

fn token() -> Option<String> {
    Some("Bearer s3cret".to_owned())
}

#[tokio::test]
async fn a_redirect_to_another_host_is_followed_without_the_token() {
    for status in [301, 302, 303, 307, 308] {
        let other = Stand::new(|_| answer(200, &[], DOCUMENT));
        let registry = Stand::new(to(format!("{}/x", other.url.replacen("//", "//user:pass@", 1)), status));
        let found = registry.client_with("s3cret").look("x", SOON).await.unwrap().unwrap();
        assert!(found.versions["1.0.0"].has_integrity("sha512-x"));
        assert_eq!(authorization(&registry), [token()]);
        assert_eq!(authorization(&other), [None], "{status}");
    }
}

#[tokio::test]
async fn a_redirect_at_the_registry_itself_is_followed_with_the_token() {
    let registry = Stand::new(to("/there".into(), 302));
    assert!(registry.client_with("s3cret").look("x", SOON).await.unwrap().is_some());
    assert_eq!(authorization(&registry), [token(), token()]);
}

#[tokio::test]
async fn a_redirect_of_a_put_is_not_followed_and_names_the_place() {
    let other = Stand::new(|_| answer(201, &[], "{}"));
    let place = format!("{}/x", other.url);
    for status in [301, 302, 303, 307, 308] {
        let registry = Stand::new(to(place.clone(), status));
        let (document, _folder) = document("x", b"tarball");
        let refusal = registry.client_with("s3cret").put(&document, SOON).await.unwrap_err();
        assert_eq!(refusal.kind, Kind::Permanent);
        assert!(refusal.message.contains(&format!("redirects x@1.0.0 to {place}; set the registry")), "{refusal}");
        assert_eq!(registry.seen().len(), 1);
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let registry = Stand::new(to("/x".into(), 302));
    let refusal = registry.client().look("x", SOON).await.unwrap_err();
    let message = format!("{}: it redirects more than 20 times", registry.url);
    assert_eq!(refusal, Refusal { kind: Kind::Unavailable, message });
}

#[tokio::test]
async fn a_tarball_at_another_host_is_fetched_without_the_token() {
    let (registry, other) = (Stand::new(|_| answer(200, &[], "tar")), Stand::new(|_| answer(200, &[], "tar")));
    let client = registry.client_with("s3cret");
    let folder = tempfile::tempdir().unwrap();
    for url in [format!("{}/x.tgz", registry.url), format!("{}/x.tgz", other.url), "x/-/x.tgz".into()] {
        client.download(&url, &folder.path().join("x"), 3, SOON).await.unwrap();
        assert_eq!(std::fs::read(folder.path().join("x")).unwrap(), b"tar");
        std::fs::remove_file(folder.path().join("x")).unwrap();
    }
    assert_eq!(authorization(&registry), [token(), token()]);
    assert_eq!(authorization(&other), [None]);
    // The public registry in a document of another one means that one.
    client.download(&format!("{DEFAULT_REGISTRY}/x/-/y.tgz"), &folder.path().join("y"), 3, SOON).await.unwrap();
    assert_eq!(registry.seen()[2].target, "/x/-/y.tgz");
}

#[tokio::test]
async fn what_is_set_for_one_registry_is_not_sent_to_another() {
    let (registry, other) = (Stand::new(|_| answer(404, &[], "")), Stand::new(|_| answer(404, &[], "")));
    let host = registry.url.trim_start_matches("http:");
    let settings =
        settings(&format!("{host}/:_authToken=s3cret\n_authToken=loose"), &[("npm_config__auth", "bG9vc2U=")]);
    for stand in [&registry, &other] {
        assert_eq!(client(&settings.access(&stand.url).unwrap()).look("x", SOON).await, Ok(None));
    }
    assert_eq!(authorization(&registry), [token()]);
    assert_eq!(authorization(&other), [None]);
}

#[tokio::test]
async fn no_secret_is_in_a_refusal_or_in_what_debug_shows() {
    let registry = Stand::new(|asked| answer(401, &[], asked.header("authorization").unwrap_or_default()));
    let client = registry.client_with("s3cret");
    let look = client.look("x", SOON).await.unwrap_err();
    let (document, folder) = document("x", b"tarball");
    let put = client.put(&document, SOON).await.unwrap_err();
    let fetch = client.download("/x.tgz", &folder.path().join("fetched"), 1, SOON).await.unwrap_err();
    for said in [look.to_string(), put.to_string(), fetch.to_string(), format!("{client:?}")] {
        assert!(said.contains("***") || said.contains("Sensitive"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}
