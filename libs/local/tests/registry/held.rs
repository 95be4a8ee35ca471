//! A version that is held, and other versions of its name.

use packline_local::registry::Source;
use packline_testkit::stand_in::StandIn;

use crate::stand::Stand;

fn some(whose: &str, version: &str) -> Option<(String, String)> {
    Some((whose.to_owned(), version.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_held_comes_from_here_alone_and_other_versions_of_its_name_from_there() {
    let stand = Stand::new(&[("ms", &["1.9.0", "2.0.0", "3.0.0"]), ("other", &["1.0.0"])]).await;
    let theirs = stand.upstream.document("ms");
    stand.held.renew(Source::Workspace, [("ms", Some("3.0.0"))]);
    // Before it is published.
    assert_eq!(stand.versions("ms").await, (vec!["1.9.0".into(), "2.0.0".into()], Some("2.0.0".into())));
    assert_eq!(stand.install("ms@^2"), some("theirs", "2.0.0"));
    assert_eq!(stand.install("ms"), some("theirs", "2.0.0"));
    assert_eq!(stand.install("ms@3.0.0"), None);
    let json = "application/json";
    for path in ["ms/-/ms-3.0.0.tgz", "ms/3.0.0"] {
        assert_eq!(stand.get(path, json).await.0, 404, "{path}");
    }
    assert_eq!(stand.get("ms/latest", json).await.1["version"], "2.0.0");
    assert_eq!(stand.get("-/package/ms/dist-tags", json).await.1["latest"], "2.0.0");
    stand.publish("ms", "3.0.0");
    let all = ["1.9.0", "2.0.0", "3.0.0"].map(str::to_owned).to_vec();
    assert_eq!(stand.versions("ms").await, (all, Some("3.0.0".into())));
    assert_eq!(stand.install("ms"), some("ours", "3.0.0"));
    assert_eq!(stand.install("ms@^2"), some("theirs", "2.0.0"));
    assert_eq!(stand.get("ms/3.0.0", json).await.1["description"], "ours");
    assert_eq!(stand.install("other"), some("theirs", "1.0.0"));
    let stand = stand.reopen().await;
    stand.held.renew(Source::Workspace, [("ms", Some("3.0.0"))]);
    assert_eq!(stand.install("ms"), some("ours", "3.0.0"));
    assert_eq!(stand.install("ms@^1"), some("theirs", "1.9.0"));
    assert_eq!(stand.upstream.document("ms"), theirs, "nothing is published there");
    let asked = stand.asked();
    let puts = asked.iter().filter(|asked| asked.starts_with("PUT")).count();
    assert_eq!(puts, 4, "of this test alone: {asked:?}");
    assert!(!asked.iter().any(|asked| asked.contains("ms-3.0.0.tgz")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_there_while_the_other_registry_is_away_and_a_name_without_a_version_is_held_whole() {
    let mut stand = Stand::new(&[("@acme/new", &["1.0.0"])]).await;
    let asked = stand.asked();
    stand.held.renew(Source::Queue, [("@acme/new", None)]);
    assert_eq!(stand.versions("@acme/new").await, (vec![], None));
    assert_eq!(stand.get("@acme%2fnew/-/new-1.0.0.tgz", "*/*").await.0, 404);
    stand.publish("@acme/new", "1.0.0");
    assert_eq!(stand.asked(), asked);
    stand.held.renew(Source::Queue, [("@acme/new", Some("1.0.0"))]);
    assert_eq!(stand.install("@acme/new"), some("ours", "1.0.0"));
    stand.upstream = StandIn::start().await;
    assert_eq!(stand.install("@acme/new"), some("ours", "1.0.0"));
    assert_eq!(stand.get("@acme%2fnew?write=true", "*/*").await.0, 200);
}
