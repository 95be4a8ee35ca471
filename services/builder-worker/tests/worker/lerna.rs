//! Members that each install by themselves: what the root builds of them, and with which siblings.

use packline_domain::{Outcome, phase::CACHED};
use serde_json::{Value, json};

use crate::yard::{Yard, phase};

/// Members of which each needs the one before it, by a lock file that names a version that is not published yet. The root
/// builds them by this line; `$each` is a member.
async fn chain(line: &str) -> Yard {
    let yard = Yard::new(json!({})).await;
    let build = line.replace("LEDGER", &yard.ledger().display().to_string());
    yard.write("package.json", &json!({"name": "own", "private": true, "scripts": {"build": build}}).to_string());
    yard.write("lerna.json", r#"{"packages": ["packages/*"], "version": "independent"}"#);
    let first = "mkdir -p dist && echo \"module.exports = 'a'\" > dist/index.js";
    yard.member("a", "1.0.0", json!({"scripts": {"tsc": first}}));
    for (name, needs) in [("b", "a"), ("c", "b")] {
        let needed = format!("@acme/{needs}");
        let tsc = format!(
            "mkdir -p dist && node -p \"'module.exports = ' + JSON.stringify(require('{needed}') + '{name}')\" > out && \
             mv out dist/index.js"
        );
        let test = format!("test ! -L node_modules/{needed} && node -e \"require('{needed}')\"");
        let more = json!({"dependencies": {&needed: "^1.0.0"}, "scripts": {"tsc": tsc, "test": test}});
        yard.member(name, "1.0.0", more);
        yard.write(&format!("packages/{name}/package-lock.json"), &lock(name).to_string());
    }
    yard
}

/// As npm wrote it when these versions came from elsewhere.
fn lock(name: &str) -> Value {
    let entry = |name: &str, dependencies: Value| {
        json!({
            "version": "1.0.0", "resolved": format!("https://registry.example/@acme/{name}/-/{name}-1.0.0.tgz"),
            "integrity": "sha512-ZWxzZXdoZXJl", "dependencies": dependencies,
        })
    };
    let own =
        |needs: &str| json!({"name": format!("@acme/{name}"), "version": "1.0.0", "dependencies": {needs: "^1.0.0"}});
    let a = entry("a", json!({}));
    let packages = match name {
        "b" => json!({"": own("@acme/a"), "node_modules/@acme/a": a}),
        _ => json!({
            "": own("@acme/b"), "node_modules/@acme/a": a,
            "node_modules/@acme/b": entry("b", json!({"@acme/a": "^1.0.0"})),
        }),
    };
    json!({"name": format!("@acme/{name}"), "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": packages})
}

async fn assert_published(yard: &mut Yard, name: &str, code: &str) {
    let result = yard.build(name).await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    let found = yard.published(name, "1.0.0").unwrap().remove("dist/index.js");
    assert_eq!(found, Some(format!("{code}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_builds_once_whatever_is_published_of_siblings() {
    let mut yard =
        chain("for each in a b c; do (cd packages/$each && npm run tsc) || exit 1; done && echo build >> LEDGER").await;
    yard.start("");
    assert_published(&mut yard, "a", "module.exports = 'a'").await;
    assert_eq!(yard.done(), ["build"]);
    assert_published(&mut yard, "b", "module.exports = \"ab\"").await;
    assert_published(&mut yard, "c", "module.exports = \"abc\"").await;
    assert!(yard.done().is_empty(), "the sources are the same");
    yard.write("packages/a/README.md", "new");
    let again = yard.build("b").await;
    assert_eq!((again.outcome, phase(&again, "build").reason.as_deref()), (Outcome::Published, None), "{again:?}");
    assert_eq!(yard.done(), ["build"]);
    let cached = yard.build("c").await;
    assert_eq!(phase(&cached, "build").reason.as_deref(), Some(CACHED), "{cached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_build_that_leaves_code_out_runs_again_on_what_is_published_of_siblings() {
    let line = "for each in c b a; do (cd packages/$each && npm run tsc); done; echo build >> LEDGER";
    let mut yard = chain(line).await;
    yard.start("");
    assert_published(&mut yard, "a", "module.exports = 'a'").await;
    assert_eq!(yard.done(), ["build"]);
    assert_published(&mut yard, "b", "module.exports = \"ab\"").await;
    assert_eq!(yard.done(), ["build"]);
    assert_published(&mut yard, "c", "module.exports = \"abc\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_build_that_fails_on_links_to_siblings_runs_on_what_is_published_of_them() {
    let line = "for each in a b c; do (cd packages/$each && test -z \"$(find node_modules -type l 2> .log)\" && npm run tsc) || exit 1; done";
    let mut yard = chain(line).await;
    yard.start("");
    assert_published(&mut yard, "a", "module.exports = 'a'").await;
    assert_published(&mut yard, "b", "module.exports = \"ab\"").await;
    assert_published(&mut yard, "c", "module.exports = \"abc\"").await;
}
