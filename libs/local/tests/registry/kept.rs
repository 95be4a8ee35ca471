//! Over the folder of the last release, whose registry kept copies beside what was published to it.

use std::fs;

use packline_local::registry::{Address, Registry, RegistryOptions, Source, Told};
use packline_testkit::stand_in::StandIn;
use serde_json::json;

use crate::stand::{Stand, home, install, publish};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_last_release_has_copied_hides_no_version_of_the_workspace() {
    let (upstream, folder) = (StandIn::start().await, tempfile::tempdir().unwrap());
    let theirs = |name, version| publish(&folder, &upstream.url(), name, version, "theirs");
    theirs("ms", "3.0.0");
    theirs("lib", "1.0.0");
    let mut earlier = Registry::open(&RegistryOptions {
        folder: home(&folder),
        keep: true,
        address: Address::Local(None),
        beyond: None,
        told: Told::All,
        script: None,
    })
    .await
    .unwrap();
    // One Verdaccio for all, as it was configured then.
    let own = json!({"access": "$all", "publish": "$all", "unpublish": "$all"});
    let others = json!({"access": "$all", "publish": "$all", "unpublish": "$all", "proxy": "upstream"});
    let configuration = json!({"storage": "./storage", "uplinks": {"upstream": {"url": upstream.url()}},
        "packages": {"@acme/own": own, "**": others}, "publish": {"allow_offline": true}, "web": {"enable": false},
        "log": {"type": "stdout", "format": "pretty", "level": "http", "colors": false}});
    fs::write(home(&folder).join("config.yaml"), configuration.to_string()).unwrap();
    earlier.restart().await.unwrap();
    publish(&folder, &earlier.url(), "@acme/own", "1.0.0", "ours");
    publish(&folder, &earlier.url(), "lib", "1.1.0", "ours");
    for name in ["ms", "lib@1.0.0"] {
        assert!(install(&folder, &earlier.url(), name).is_some(), "{name}");
    }
    assert!(home(&folder).join("storage/ms/ms-3.0.0.tgz").is_file(), "it keeps copies");
    drop(earlier);
    let stand = Stand::over(folder, upstream).await;
    stand.held.renew(Source::Workspace, [("ms", Some("3.0.0")), ("lib", Some("1.0.0"))]);
    let whose = |wanted: &str| stand.install(wanted).map(|(whose, _)| whose);
    assert_eq!(whose("@acme/own").as_deref(), Some("ours"));
    assert_eq!(whose("lib@1.1.0").as_deref(), Some("ours"));
    assert_eq!((whose("ms"), whose("lib@1.0.0")), (None, None));
    assert!(stand.home().join("mirror/storage/ms/ms-3.0.0.tgz").is_file(), "the copy is not lost");
    stand.publish("ms", "3.0.0");
    // After 1.1.0 npm wants to hear which tag it gets.
    stand.publish_with("lib", "1.0.0", &["--tag=latest"]);
    assert_eq!((whose("ms").as_deref(), whose("lib@1.0.0").as_deref()), (Some("ours"), Some("ours")));
}
