//! Layers that failed: which builds try them again.

use packline_domain::Outcome;
use serde_json::json;

use super::installs;
use crate::yard::Yard;

#[tokio::test(flavor = "multi_thread")]
async fn a_build_tries_what_failed_once_however_often_it_needs_it() {
    let mut yard = Yard::new(json!({})).await;
    // The root's build and its tests each need what is installed for all members.
    let root = json!({"name": "own", "private": true, "scripts": {"build": "true", "test": "true"}});
    yard.write("package.json", &root.to_string());
    yard.write("lerna.json", r#"{"packages": ["packages/*"], "version": "independent"}"#);
    yard.member("a", "1.0.0", json!({"main": "index.js", "files": ["index.js"]}));
    yard.write("packages/a/index.js", "");
    yard.member("b", "1.0.0", json!({"dependencies": {"tiny-gone": "1.0.0"}}));
    yard.start("root_build = \"always\"\nroot_test = \"gate\"");
    for tried in 1..=2 {
        let result = yard.build("a").await;
        assert_eq!(result.outcome, Outcome::Published, "{result:?}");
        assert_eq!(installs(&yard.registry, "tiny-gone"), tried, "each build was asked for");
        yard.member("a", &format!("1.0.{tried}"), json!({"main": "index.js", "files": ["index.js"]}));
    }
}
