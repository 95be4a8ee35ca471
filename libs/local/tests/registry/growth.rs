//! Names and versions that are added while a registry runs, and has copies of theirs.

use packline_local::registry::Source;

use crate::stand::Stand;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_added_and_a_version_that_is_raised_are_held_from_then_on() {
    let stand = Stand::new(&[("late", &["1.0.0"]), ("ms", &["2.9.0", "3.1.0"])]).await;
    let whose = |wanted: &str| stand.install(wanted).map(|(whose, version)| format!("{whose} {version}"));
    stand.held.renew(Source::Workspace, [("ms", Some("3.0.0"))]);
    stand.publish("ms", "3.0.0");
    assert_eq!(whose("late").as_deref(), Some("theirs 1.0.0"));
    assert_eq!(whose("ms@^3.1.0").as_deref(), Some("theirs 3.1.0"));
    stand.held.renew(Source::Workspace, [("ms", Some("3.1.0")), ("late", Some("1.0.0"))]);
    assert_eq!(whose("late"), None);
    assert_eq!(whose("ms@^3.1.0"), None);
    assert_eq!(stand.get("ms/-/ms-3.1.0.tgz", "*/*").await.0, 404, "although there is a copy");
    assert_eq!(stand.versions("ms").await, (vec!["2.9.0".into(), "3.0.0".into()], Some("3.0.0".into())));
    stand.publish("ms", "3.1.0");
    stand.publish("late", "1.0.0");
    assert_eq!(whose("late").as_deref(), Some("ours 1.0.0"));
    assert_eq!(whose("ms@^3.1.0").as_deref(), Some("ours 3.1.0"));
    assert_eq!(whose("ms@^3.0.0 <3.1.0").as_deref(), Some("ours 3.0.0"));
    assert_eq!(whose("ms@^2").as_deref(), Some("theirs 2.9.0"));
}
