//! `packline up` beside registries of the person's own: what of them is used, and what never is.
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use packline_testkit::{
    process::{Process, command},
    registry::Registry,
};
use serde_json::json;
use tempfile::TempDir;

/// For a whole run on a busy machine, from a build that may not be warm.
const PATIENCE: Duration = Duration::from_secs(600);

/// A workspace of one package, with a folder for everything else beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    /// `@own/user`, which needs `needs` and wants what it exports to be `what`.
    fn new(needs: &str, what: &str) -> Self {
        let place = Self { folder: tempfile::Builder::new().prefix("uplink-test-").tempdir().unwrap() };
        let root = json!({"name": "own", "private": true, "workspaces": ["packages/*"]});
        let test = format!("node -e \"if (require('{needs}') !== '{what}') process.exit(1)\"");
        let user = json!({"name": "@own/user", "version": "1.0.0", "dependencies": {needs: "^1.0.0"},
            "scripts": {"test": test}});
        let folder = place.workspace().join("packages/user");
        fs::create_dir_all(&folder).unwrap();
        fs::write(place.workspace().join("package.json"), root.to_string()).unwrap();
        fs::write(folder.join("package.json"), user.to_string()).unwrap();
        fs::write(folder.join("index.js"), "module.exports = 'ours';\n").unwrap();
        place
    }

    fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    async fn registry(&self, name: &str) -> Registry {
        Registry::start(&self.folder.path().join(name)).await.unwrap()
    }

    /// Publishes a package that exports `what`.
    fn publish(&self, registry: &Registry, name: &str, what: &str) {
        let outside = self.folder.path().join("outside").join(name);
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("package.json"), json!({"name": name, "version": "1.0.0"}).to_string()).unwrap();
        fs::write(outside.join("index.js"), format!("module.exports = '{what}';\n")).unwrap();
        let npmrc = outside.join("npmrc");
        fs::write(&npmrc, format!("{}/:_authToken=nobody\n", host(registry))).unwrap();
        let mut npm = command("npm");
        npm.args(["publish", "--registry", &registry.url(), "--userconfig"]).arg(npmrc);
        assert!(npm.current_dir(&outside).output().unwrap().status.success());
    }

    /// Runs `packline up --once` to its end; what it printed.
    async fn up(&self, variable: (&str, &str)) -> String {
        let mut up = command(env!("CARGO_BIN_EXE_packline"));
        up.args(["up", "--once", "--workspace"]).arg(self.workspace()).env_remove("RUST_LOG");
        up.env(variable.0, variable.1);
        let up = Process::spawn("packline", up, &self.folder.path().join("up.log")).unwrap();
        let ended = tokio::time::timeout(PATIENCE, up.exited()).await;
        assert!(ended.is_ok_and(|ended| ended.success()), "{}", up.printed());
        up.printed()
    }

    /// What the package of the workspace exports in the version that was published from here.
    fn published(&self) -> String {
        let tarball = self.workspace().join(".packline/registry/storage/@own/user/user-1.0.0.tgz");
        let read = command("tar").arg("-xzOf").arg(tarball).arg("package/index.js").output().unwrap();
        String::from_utf8(read.stdout).unwrap()
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
async fn what_is_not_of_the_workspace_comes_from_the_registry_that_npm_is_set_to_and_what_is_of_it_never_does() {
    let place = Place::new("only-upstream", "from upstream");
    let upstream = place.registry("upstream").await;
    place.publish(&upstream, "only-upstream", "from upstream");
    // The same name and version, as where the workspace is one whose packages were published long ago.
    place.publish(&upstream, "@own/user", "theirs");
    let theirs = upstream.view("@own/user").await.unwrap();
    fs::write(place.workspace().join(".npmrc"), format!("registry={}\n", upstream.url())).unwrap();
    let said = place.up(("UNUSED", "")).await;
    assert!(said.contains(&format!("comes from {}", upstream.url())), "{said}");
    assert_eq!(place.published(), "module.exports = 'ours';\n");
    assert_eq!(upstream.view("@own/user").await.unwrap(), theirs, "nothing is published upstream");
}

#[tokio::test]
async fn a_scope_comes_from_its_own_registry_opened_by_the_token_that_npm_has() {
    let place = Place::new("@corp/secret", "of the corp");
    let (others, mut corp) = tokio::join!(place.registry("others"), place.registry("corp"));
    place.publish(&corp, "@corp/secret", "of the corp");
    let token = close(&mut corp, &place.folder.path().join("corp")).await;
    let anonymous = corp.view("@corp/secret").await;
    assert!(!matches!(anonymous, Ok(Some(_))), "it is closed: {anonymous:?}");
    let npmrc = format!(
        "registry={}\n@corp:registry={}\n{}/:_authToken=${{CORP_TOKEN}}\n",
        others.url(),
        corp.url(),
        host(&corp)
    );
    fs::write(place.workspace().join(".npmrc"), npmrc).unwrap();
    let said = place.up(("CORP_TOKEN", &token)).await;
    assert!(said.contains(&format!("comes from {}, @corp from {}", others.url(), corp.url())), "{said}");
    assert!(!said.contains(&token), "{said}");
    assert_eq!(place.published(), "module.exports = 'ours';\n");
}
