//! `packline up` beside registries of the person's own: what of them is used, and what never is.
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use packline_broker::{Message, topology};
use packline_domain::Package;
use packline_testkit::{http::stranger, process::command, registry::Registry};
use serde_json::{Value, json};

use crate::{
    place::{INDEX, PATIENCE, Place},
    up::{broker, until},
};

/// A workspace of one package, and registries beside it.
struct Uplink(Place);

impl Uplink {
    /// `@own/user`, which needs `needs` and wants what it exports to be `what`.
    fn new(needs: &str, what: &str) -> Self {
        let place = Place::new();
        let test = format!("node -e \"if (require('{needs}') !== '{what}') process.exit(1)\"");
        place.package("user", "1.0.0", &json!({"dependencies": {needs: "^1.0.0"}, "scripts": {"test": test}}));
        Self(place)
    }

    async fn registry(&self, name: &str) -> Registry {
        Registry::start(&self.0.folder().join(name)).await.unwrap()
    }

    /// Publishes a package that exports `what`.
    fn publish(&self, registry: &Registry, name: &str, what: &str) {
        self.publish_version(registry, name, "1.0.0", what);
    }

    fn publish_version(&self, registry: &Registry, name: &str, version: &str, what: &str) {
        let manifest = json!({"name": name, "version": version});
        self.publish_files(registry, &manifest, &[("index.js", &format!("module.exports = '{what}';\n"))]);
    }

    fn publish_files(&self, registry: &Registry, manifest: &Value, files: &[(&str, &str)]) {
        let outside = self.0.folder().join("outside").join(manifest["name"].as_str().unwrap());
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("package.json"), manifest.to_string()).unwrap();
        for (file, text) in files {
            fs::write(outside.join(file), text).unwrap();
        }
        let npmrc = outside.join("npmrc");
        fs::write(&npmrc, format!("{}/:_authToken=nobody\n", host(registry))).unwrap();
        let mut npm = command("npm");
        npm.args(["publish", "--registry", &registry.url(), "--userconfig"]).arg(npmrc);
        assert!(npm.current_dir(&outside).output().unwrap().status.success());
    }

    /// npm's settings of the workspace.
    fn configure(&self, npmrc: &str) {
        fs::write(self.0.workspace().join(".npmrc"), npmrc).unwrap();
    }

    /// Runs `packline up --once` to its end; what it printed.
    async fn up(&self, variables: &[(&str, &str)]) -> String {
        let up = self.0.up_with("up", &["--once"], variables);
        let ended = tokio::time::timeout(PATIENCE, up.exited()).await;
        assert!(ended.is_ok_and(|ended| ended.success()), "{}", up.printed());
        up.printed()
    }

    /// What the package of the workspace exports in the version that was published from here.
    fn published(&self) -> String {
        let read = command("tar").arg("-xzOf").arg(self.0.tarball("user", "1.0.0")).arg("package/index.js").output();
        String::from_utf8(read.unwrap().stdout).unwrap()
    }
}

/// Its address without the scheme, as npm's settings name it.
fn host(registry: &Registry) -> String {
    registry.url().trim_start_matches("http:").to_owned()
}

/// From now on it gives and takes only with a token, which is answered.
async fn close(registry: &mut Registry, folder: &Path) -> String {
    let file = folder.join("config.yaml");
    let closed = fs::read_to_string(&file).unwrap().replace("$all", "$authenticated");
    let users = closed.replacen('{', r#"{"auth": {"htpasswd": {"file": "./htpasswd"}}, "#, 1);
    fs::write(file, users).unwrap();
    registry.restart().await.unwrap();
    let login = r#"
        const user = {name: "me", password: "a long password", type: "user", roles: []};
        fetch(process.argv[1] + "/-/user/org.couchdb.user:me",
            {method: "PUT", body: JSON.stringify(user), headers: {"content-type": "application/json"}})
            .then((answer) => answer.json()).then(({token}) => process.stdout.write(token));"#;
    let login = command("node").args(["-e", login, &registry.url()]).output().unwrap();
    assert!(login.status.success(), "{}", String::from_utf8_lossy(&login.stderr));
    String::from_utf8(login.stdout).unwrap()
}

#[tokio::test]
async fn a_version_that_the_workspace_holds_never_comes_from_another_registry_and_what_is_not_of_it_does() {
    let uplink = Uplink::new("only-upstream", "from upstream");
    let upstream = uplink.registry("upstream").await;
    uplink.publish(&upstream, "only-upstream", "from upstream");
    // The same name and version, as where the workspace is one whose packages were published long ago.
    uplink.publish(&upstream, "@own/user", "theirs");
    let theirs = upstream.view("@own/user").await.unwrap();
    uplink.configure(&format!("registry={}\n", upstream.url()));
    let said = uplink.up(&[]).await;
    assert!(said.contains(&format!("comes from {}", upstream.url())), "{said}");
    assert_eq!(uplink.published(), INDEX);
    assert_eq!(upstream.view("@own/user").await.unwrap(), theirs, "nothing is published upstream");
}

#[tokio::test]
async fn other_versions_of_the_names_of_a_workspace_come_from_the_registry_that_npm_is_set_to() {
    let uplink = Uplink(Place::new());
    let upstream = uplink.registry("upstream").await;
    for version in ["2.1.0", "3.0.0"] {
        uplink.publish_version(&upstream, "@own/ms", version, &format!("theirs {version}"));
    }
    let theirs = upstream.view("@own/ms").await.unwrap();
    uplink.configure(&format!("registry={}\n", upstream.url()));
    uplink.0.package("ms", "3.0.0", &json!({}));
    for (name, range, wanted) in [("old", "^2.0.0", "theirs 2.1.0"), ("new", "^3.0.0", "ours"), ("any", "*", "ours")] {
        let test = format!("node -e \"if (require('@own/ms') !== '{wanted}') process.exit(1)\"");
        uplink.0.package(name, "1.0.0", &json!({"dependencies": {"@own/ms": range}, "scripts": {"test": test}}));
    }
    uplink.up(&[]).await;
    assert_eq!(upstream.view("@own/ms").await.unwrap(), theirs, "nothing is published upstream");
}

#[tokio::test]
async fn what_is_added_or_raised_while_it_runs_never_comes_from_another_registry_from_then_on() {
    let uplink = Uplink(Place::new());
    let upstream = uplink.registry("upstream").await;
    for (name, version) in [("base", "1.1.0"), ("late", "1.0.0"), ("listed", "1.0.0"), ("announced", "1.0.0")] {
        uplink.publish_version(&upstream, &format!("@own/{name}"), version, "theirs");
    }
    uplink.configure(&format!("registry={}\n", upstream.url()));
    uplink.0.package("base", "1.0.0", &json!({}));
    let up = uplink.0.up("up", &["--workers", "1"]);
    until(&up, "published", || uplink.0.tarball("base", "1.0.0").is_file()).await;
    let broker = broker(&up).await;
    let control = |name| Message::json(topology::control(name), &json!({}));
    broker.publish(control("pause")).await.unwrap();
    let said = up.printed();
    let url = said.lines().find_map(|line| line.trim().strip_prefix("registry")).unwrap().trim();
    let url = url.split_whitespace().next().unwrap().to_owned();
    let versions = async |name: &str| -> Vec<String> {
        let answer = stranger().get(format!("{url}/@own%2f{name}")).send().await.unwrap().bytes().await.unwrap();
        let document: Value = serde_json::from_slice(&answer).unwrap();
        document["versions"].as_object().map(|versions| versions.keys().cloned().collect()).unwrap_or_default()
    };
    let until_versions = async |name: &str, wanted: &[&str]| {
        let give_up = Instant::now() + PATIENCE;
        while versions(name).await != wanted {
            assert!(up.is_running() && Instant::now() < give_up, "{name} is not {wanted:?}:\n{}", up.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until_versions("base", &["1.0.0", "1.1.0"]).await;
    for name in ["late", "listed", "announced"] {
        assert_eq!(versions(name).await, ["1.0.0"], "{name} is of somebody else");
    }
    // A folder that the scan finds; a package that is put into the catalogue; one that is announced by hand.
    uplink.0.package("base", "1.1.0", &json!({}));
    uplink.0.package("late", "1.0.0", &json!({}));
    uplink.0.catalogue().add(&Package::parse(&json!({"name": "@own/listed"})).unwrap()).unwrap();
    broker.publish(Message::json(topology::packages_new(), &json!({"name": "@own/announced"}))).await.unwrap();
    until_versions("base", &["1.0.0"]).await;
    for name in ["late", "listed", "announced"] {
        until_versions(name, &[]).await;
    }
    broker.publish(control("resume")).await.unwrap();
    for (name, version, all) in [("base", "1.1.0", vec!["1.0.0", "1.1.0"]), ("late", "1.0.0", vec!["1.0.0"])] {
        until_versions(name, &all).await;
        let read = command("tar").arg("-xzOf").arg(uplink.0.tarball(name, version)).arg("package/index.js").output();
        assert_eq!(String::from_utf8(read.unwrap().stdout).unwrap(), INDEX);
    }
}

#[tokio::test]
async fn a_scope_comes_from_its_own_registry_opened_by_the_token_that_npm_has() {
    let uplink = Uplink::new("@corp/secret", "of the corp");
    let (others, mut corp) = tokio::join!(uplink.registry("others"), uplink.registry("corp"));
    uplink.publish(&corp, "@corp/secret", "of the corp");
    let token = close(&mut corp, &uplink.0.folder().join("corp")).await;
    let anonymous = corp.view("@corp/secret").await;
    assert!(!matches!(anonymous, Ok(Some(_))), "it is closed: {anonymous:?}");
    let npmrc = format!(
        "registry={}\n@corp:registry={}\n{}/:_authToken=${{CORP_TOKEN}}\n",
        others.url(),
        corp.url(),
        host(&corp)
    );
    uplink.configure(&npmrc);
    let said = uplink.up(&[("CORP_TOKEN", &token)]).await;
    assert!(said.contains(&format!("comes from {}, @corp from {}", others.url(), corp.url())), "{said}");
    assert!(!said.contains(&token), "{said}");
    assert_eq!(uplink.published(), INDEX);
}

#[tokio::test]
async fn code_that_is_missing_is_forgiven_where_the_newest_version_at_the_registry_that_npm_is_set_to_lacks_it_too() {
    const MISSING: &str = "main names main.js, which is not in the tarball";
    let uplink = Uplink(Place::new());
    let (others, corp) = tokio::join!(uplink.registry("others"), uplink.registry("corp"));
    let unused = "http://127.0.0.1:9/unused";
    let npmrc = format!("registry={}\n@own:registry={}\n@unused:registry={unused}", others.url(), corp.url());
    uplink.configure(&npmrc);
    // What the one registry has of a scoped package, the other lacks.
    for (registry, name, file) in [
        (&corp, "@own/hollow", "index.d.ts"),
        (&others, "@own/hollow", "main.js"),
        (&corp, "@own/whole", "main.js"),
        (&others, "@own/whole", "index.d.ts"),
        (&others, "plain", "index.d.ts"),
    ] {
        let manifest = json!({"name": name, "version": "1.0.0", "main": "main.js"});
        uplink.publish_files(registry, &manifest, &[(file, "")]);
    }
    // Of npm, which runs the script: a shell leaves out what no variable of its own could be named.
    let environment = "/proc/$PPID/environ";
    let build = format!("grep -q PACKAGE_NAME= {environment} && ! grep -q {unused} {environment}");
    uplink.0.package("hollow", "1.1.0", &json!({"main": "main.js", "scripts": {"build": build}}));
    uplink.0.package("whole", "1.1.0", &json!({"main": "main.js"}));
    uplink.0.package("plain", "1.1.0", &json!({"main": "main.js", "name": "plain"}));
    for name in ["hollow", "whole", "plain"] {
        // Node would take it for a `main` that is missing.
        fs::remove_file(uplink.0.workspace().join("packages").join(name).join("index.js")).unwrap();
    }
    let theirs = (corp.view("@own/hollow").await.unwrap(), others.view("plain").await.unwrap());
    let up = uplink.0.up("up", &["--once"]);
    let ended = tokio::time::timeout(PATIENCE, up.exited()).await.unwrap();
    let said = up.printed();
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(uplink.0.tarball("hollow", "1.1.0").is_file(), "{said}");
    for name in ["@own/hollow", "plain"] {
        assert!(said.contains(&format!("warning: {name}: {MISSING}, as in the version that is published")), "{said}");
    }
    let refusal = format!("publish: {MISSING}; ");
    let of_whole: Vec<_> = said.lines().filter(|line| line.starts_with("@own/whole")).collect();
    assert!(of_whole.iter().any(|line| line.contains("failed") && line.contains(&refusal)), "{said}");
    assert!(!of_whole.iter().any(|line| line.contains("retrying")), "{said}");
    assert!(said.ends_with("error: 1 of 3 packages are not published\n"), "{said}");
    let now = (corp.view("@own/hollow").await.unwrap(), others.view("plain").await.unwrap());
    assert_eq!(now, theirs, "nothing is published there");
}
