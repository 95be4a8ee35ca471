//! What a package's `publishConfig` does, by the worker.

use packline_domain::{BuildResult, Outcome};
use packline_testkit::stand_in::StandIn;
use serde_json::{Value, json};

use crate::publisher::{Publisher, TOKEN, worker};

/// What the registry was sent in the only put.
fn sent(registry: &StandIn, name: &str) -> Value {
    let puts = registry.puts(name);
    let [put] = puts.as_slice() else { panic!("{} requests to publish {name}", puts.len()) };
    put.json()
}

fn assert_published(result: &BuildResult) {
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
}

#[tokio::test]
async fn a_folder_of_the_package_is_packed_with_its_own_package_json_and_the_scripts_of_the_package() {
    let mut publisher = Publisher::start("", &[]).await;
    let notes = publisher.foreman.folder().join("notes").display().to_string();
    let dist = json!({"name": "@acme/core", "version": "1.0.0", "main": "built.js", "scripts": {
        "postpublish": format!("echo of-the-folder >> {notes}"), "prepack": format!("echo of-the-folder >> {notes}"),
    }});
    let build = format!(
        "mkdir dist && echo 1 > dist/built.js && cp folder.json dist/package.json && pwd -P | grep -o '[^/]*$' >> {notes}"
    );
    let config = json!({"directory": "dist", "tag": "next", "access": "public"});
    let scripts = json!({"prepublishOnly": build, "postpublish": format!("echo postpublish >> {notes}")});
    let manifest = json!({"name": "@acme/core", "version": "9.9.9", "main": "absent.js", "publishConfig": config, "scripts": scripts});
    publisher.foreman.package("@acme/core", manifest, &[("folder.json", &dist.to_string())]);
    let result = publisher.build("@acme/core", |_| ()).await;
    assert_published(&result);
    assert_eq!((result.version.as_deref(), result.warnings.len()), (Some("1.0.0"), 0));
    let sent = sent(&publisher.registry, "@acme/core");
    assert_eq!((&sent["dist-tags"], &sent["access"]), (&json!({"next": "1.0.0"}), &json!("public")));
    assert_eq!(sent["versions"]["1.0.0"]["main"], "built.js");
    let tarball = publisher.foreman.folder().join("packed.tgz");
    std::fs::write(&tarball, publisher.registry.tarball("@acme/core", "1.0.0").unwrap()).unwrap();
    let listed = packline_testkit::process::command("tar").arg("-tzf").arg(&tarball).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "package/built.js\npackage/package.json\n");
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "core\npostpublish\n", "in the package's folder");
}

#[tokio::test]
async fn what_the_folder_itself_says_counts_more() {
    let mut publisher = Publisher::start("", &[]).await;
    let config = json!({"directory": "./lib/", "tag": "next", "access": "public"});
    let of_folder =
        json!({"name": "@acme/core", "version": "1.0.0", "publishConfig": {"tag": "canary", "access": "restricted"}});
    let manifest = json!({"name": "@acme/core", "version": "1.0.0", "publishConfig": config});
    publisher.foreman.package("@acme/core", manifest, &[]);
    let lib = publisher.foreman.workspace().join("packages/core/lib");
    std::fs::create_dir(&lib).unwrap();
    std::fs::write(lib.join("package.json"), of_folder.to_string()).unwrap();
    assert_published(&publisher.build("@acme/core", |_| ()).await);
    let sent = sent(&publisher.registry, "@acme/core");
    assert_eq!((&sent["dist-tags"], &sent["access"]), (&json!({"canary": "1.0.0"}), &json!("restricted")));
}

#[tokio::test]
async fn a_folder_that_is_none_of_the_package_is_refused() {
    let mut publisher = Publisher::start("", &[]).await;
    let link =
        json!({"prepublishOnly": "mkdir ../elsewhere && cp package.json ../elsewhere && ln -s ../elsewhere dist"});
    for (directory, scripts) in [
        (json!("../other"), json!({})),
        (json!("/tmp"), json!({})),
        (json!("absent"), json!({})),
        (json!("index.js"), json!({})),
        (json!(7), json!({})),
        (json!("dist"), link),
    ] {
        let rest = json!({"publishConfig": {"directory": directory}, "scripts": scripts});
        publisher.package("core", "1.0.0", rest, "1");
        let result = publisher.build("core", |_| ()).await;
        let ended = (result.outcome, result.retry, result.failed_phase.as_deref());
        assert_eq!(ended, (Outcome::Failed, false, Some("publish")), "{directory}: {result:?}");
        let error = result.error.unwrap();
        assert!(error.starts_with("publish: publishConfig.directory is a folder in the package"), "{error}");
    }
    assert!(publisher.registry.requests().is_empty());
}

#[tokio::test]
async fn another_registry_and_provenance_are_refused_followed_or_ignored() {
    let other = StandIn::start().await;
    let mut publisher = Publisher::start("", &[]).await;
    let config = |config: Value| json!({ "publishConfig": config });
    let another = || config(json!({"registry": format!("{}/", other.url())}));
    let permanent = |result: BuildResult, says: &str| {
        assert_eq!((result.outcome, result.retry), (Outcome::Failed, false), "{result:?}");
        let error = result.error.unwrap();
        assert!(error.contains(says), "{error}");
    };
    publisher.package("core", "1.0.0", another(), "1");
    permanent(publisher.build("core", |_| ()).await, "set PUBLISH_CONFIG=follow to publish there");
    publisher.package("core", "1.0.0", config(json!({"provenance": true})), "1");
    permanent(publisher.build("core", |_| ()).await, "PUBLISH_CONFIG=ignore");
    let made = json!({"scripts": {"prepack": format!("npm pkg set publishConfig.registry={}", other.url())}});
    publisher.package("core", "1.0.0", made, "1");
    let result = publisher.build("core", |_| ()).await;
    assert_eq!(result.failed_phase.as_deref(), Some("publish"), "what a script makes of it counts: {result:?}");
    permanent(result, "set PUBLISH_CONFIG=follow to publish there");
    assert!(publisher.registry.requests().is_empty() && other.requests().is_empty());

    let policy = [("PUBLISH_CONFIG", "follow")];
    publisher.worker = worker(&publisher.foreman, "follows", &publisher.registry, "", &policy);
    publisher.package("core", "1.0.0", another(), "1");
    let result = publisher.build("core", |_| ()).await;
    assert_published(&result);
    assert!(result.warnings.is_empty(), "{result:?}");
    let folder = json!({"publishConfig": {"registry": other.url(), "directory": "dist"}, "scripts": {
        "prepublishOnly": "mkdir dist && echo '{\"name\": \"@acme/folder\", \"version\": \"1.0.0\"}' > dist/package.json",
    }});
    publisher.package("@acme/folder", "1.0.0", folder, "1");
    assert_published(&publisher.build("@acme/folder", |_| ()).await);
    for name in ["core", "@acme/folder"] {
        assert_eq!(sent(&other, name)["dist-tags"], json!({"latest": "1.0.0"}));
    }
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(publisher.registry.requests().is_empty());
    let asked = other.requests().len();

    let policy = [("PUBLISH_CONFIG", "ignore")];
    publisher.worker = worker(&publisher.foreman, "ignores", &publisher.registry, "", &policy);
    let both = config(json!({"registry": other.url(), "provenance": true}));
    publisher.package("core", "1.0.0", both, "1");
    let result = publisher.build("core", |_| ()).await;
    assert_published(&result);
    let expected = [
        "publishConfig.provenance is skipped: a hosted CI alone can make it".to_owned(),
        format!(
            "publishConfig names another registry, {}; published to {} only",
            other.url(),
            publisher.registry.url()
        ),
    ];
    assert_eq!(result.warnings, expected);
    assert_eq!(other.requests().len(), asked);
    let put = publisher.registry.puts("core").remove(0);
    assert_eq!(put.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}
