//! Scripts without npm: what they see is what the scripts of a real `npm publish` see.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::Method, http::StatusCode};
use packline_builder_worker::{
    npm::Npm,
    script::{Context, Event, Question, Script, Toolchain},
};
use packline_testkit::process::command;
use serde_json::{Value, json};
use tempfile::TempDir;

const TOKEN: &str = "s3cret-token";

/// Writes down the environment as it is given to the shell, which passes on no variable with a `.` or a `-` in its name.
const NOTE: &str = "cat /proc/$$/environ > \"$HOME/$npm_lifecycle_event\"";

type Env = BTreeMap<String, String>;

/// A registry that has nothing and takes all, and a package with a home.
struct Place {
    folder: TempDir,
    npm: Npm,
    /// The last that was put.
    put: Arc<Mutex<Value>>,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put: Arc<Mutex<Value>> = Arc::default();
        let taken = Arc::clone(&put);
        let answer = move |method: Method, body: Bytes| async move {
            if method != Method::PUT {
                return (StatusCode::NOT_FOUND, "{}");
            }
            *taken.lock().unwrap() = serde_json::from_slice(&body).unwrap();
            (StatusCode::CREATED, "{}")
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let npm = Npm {
            userconfig: folder.path().join("npmrc"),
            cache: folder.path().join("cache"),
            scopes: vec!["@acme".into()],
            in_workspace: false,
            ignore_scripts: false,
            registry,
        };
        let auth = format!("{}:_authToken={TOKEN}\n", npm.registry.replace("http:", "") + "/");
        fs::write(&npm.userconfig, npm.settings() + &auth).unwrap();
        for inner in ["home", "scratch"] {
            fs::create_dir(folder.path().join(inner)).unwrap();
        }
        Self { folder, npm, put }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The environment of a build.
    fn base(&self, more: &[(&str, &str)]) -> Env {
        let path = std::env::var("PATH").unwrap();
        let home = self.at("home").display().to_string();
        let general = [("PATH", path.as_str()), ("HOME", &home), ("LANG", "C.UTF-8"), ("CI", "true"), ("TERM", "dumb")];
        let all = general.iter().chain(more);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Writes a package with a script for each event, some of them as told.
    fn package(&self, mut manifest: Value, scripts: &[(&str, String)], files: &[&str]) -> Value {
        let folder = self.at("packages/core");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for file in files {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let mut all: BTreeMap<&str, &str> = events("").iter().map(|event| (event.name(), NOTE)).collect();
        all.extend(scripts.iter().map(|(name, script)| (*name, script.as_str())));
        manifest.as_object_mut().unwrap().insert("scripts".into(), json!(all));
        fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        manifest
    }

    /// What the scripts saw, by their events.
    fn seen(&self) -> BTreeMap<&'static str, Env> {
        let noted = |event: &Event<'_>| {
            let file = self.at("home").join(event.name());
            let text = fs::read_to_string(&file).unwrap();
            fs::remove_file(file).unwrap();
            let variables = text.split_terminator('\0').map(|variable| variable.split_once('=').unwrap());
            (event.name(), variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        events("").iter().map(noted).collect()
    }

    /// What the scripts see of the real npm, and what it prints.
    fn publish(&self, base: &Env) -> (BTreeMap<&'static str, Env>, String) {
        let mut npm = command("npm");
        npm.arg("publish").current_dir(self.at("packages/core")).env_clear().envs(base);
        let output = npm.env("npm_config_userconfig", &self.npm.userconfig).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (self.seen(), String::from_utf8(output.stdout).unwrap())
    }

    fn script(&self, manifest: &Value, event: Event<'_>, base: &Env, toolchain: &Toolchain) -> Option<Script> {
        let folder = self.at("packages/core");
        Script::new(manifest, event, &Context { folder: &folder, base, npm: &self.npm, toolchain })
    }

    /// A package in both ways; all variables are to be the same.
    fn is_as_by_npm(&self, manifest: &Value, base: &Env, toolchain: &Toolchain) {
        let (by_npm, printed) = self.publish(base);
        let integrity = integrity(&self.put.lock().unwrap());
        assert!(integrity.starts_with("sha512-"), "{integrity}");
        for event in events(&integrity) {
            let script = self.script(manifest, event, base, toolchain).unwrap();
            let [program, arguments @ ..] = script.argv.as_slice() else { panic!("no program") };
            let folder = self.at("packages/core");
            let run = Command::new(program).args(arguments).env_clear().envs(&script.env).current_dir(&folder).status();
            assert!(run.unwrap().success(), "{}", event.name());
            let banner = script.banner.join("\n");
            // npm 12 takes it for a notice, and the settings of builds want none.
            let prints = semver::Version::parse(toolchain.npm_version()).unwrap().major < 12;
            assert!(!prints || printed.contains(&banner), "{banner} is not in {printed}");
        }
        for (event, env) in self.seen() {
            assert_eq!(Some(&env), by_npm.get(event), "{event} of {manifest}");
            assert!(env.values().all(|value| !value.contains(TOKEN)), "{event} sees a token");
        }
    }
}

fn events(integrity: &str) -> [Event<'_>; 6] {
    [
        Event::PrepublishOnly,
        Event::Prepack,
        Event::Prepare,
        Event::Postpack { integrity },
        Event::Publish,
        Event::Postpublish,
    ]
}

/// That of the only version in what was put.
fn integrity(put: &Value) -> String {
    let version = put.get("versions").unwrap().as_object().unwrap().values().next().unwrap();
    version.pointer("/dist/integrity").unwrap().as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_sees_what_npm_publish_would_show_it() {
    let place = Place::new().await;
    let base = place.base(&[("PACKAGE_NAME", "@acme/core")]);
    let toolchain = Toolchain::ask(&base, &place.at("scratch"), started).await.unwrap();
    let left: Vec<_> = fs::read_dir(place.at("scratch")).unwrap().collect();
    assert!(left.is_empty(), "asking leaves nothing behind");
    assert!(semver::Version::parse(toolchain.npm_version()).is_ok(), "{}", toolchain.npm_version());
    assert!(semver::Version::parse(toolchain.node_version()).is_ok(), "{}", toolchain.node_version());

    let manifest = place.package(
        json!({
            "name": "@acme/core", "version": " v1.2.3+build.5", "bin": "./main.js", "engines": {"node": ">=18", "npm": "*"},
            "config": {
                "port": 8080, "ratio": 0.5, "tiny": 1e-7, "huge": 1e21, "large": 1e20, "exact": 9_007_199_254_740_993_u64,
                "zero": -0.0, "one": 1.0, "off": false, "on": true, "none": null, "empty": "", "dash-ed": "x y", "a=b": "c",
                "deep": {"er": [1, [2, {"x": "ü"}], {}]}
            }
        }),
        &[("prepack", format!("  true\n\n{NOTE}  ")), ("prepare", format!("node_modules/.bin/none || {NOTE}"))],
        &[],
    );
    place.is_as_by_npm(&manifest, &base, &toolchain);

    // The build's own settings count for more than the file, in any case; its editor is one too.
    let base = place.base(&[
        ("NPM_CONFIG_AUDIT", "true"),
        ("npm_config_fetch-retries", "3"),
        ("npm_config_fund", ""),
        ("npm_config_local_prefix", "/nowhere"),
        ("VISUAL", "emacs"),
        ("NODE_OPTIONS", "--no-warnings"),
    ]);
    let manifest = place.package(
        json!({
            "name": "plain", "version": "2.0.0", "engines": ["node >= 18"], "config": "text",
            "bin": {"./a/b/run": "/../main.js", "two": "x/../two.js", "c:\\three": "three\\", "bad": 7, "..": "x", "four": ""},
        }),
        &[("publish", format!("./node_modules/.bin/none || {NOTE}"))],
        &["two.js"],
    );
    place.is_as_by_npm(&manifest, &base, &toolchain);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_named_as_npm_finds_them() {
    let place = Place::new().await;
    let base = place.base(&[]);
    let toolchain = Toolchain::ask(&base, &place.at("scratch"), started).await.unwrap();
    let files = ["programs/one.js", "programs/deeper/two.js", "programs/.hidden", "programs/.folder/three.js"];
    for (bin, directory) in
        [(json!({}), "./programs"), (json!(7), "programs"), (json!(["./a/x.js", "b.js"]), "programs")]
    {
        let mut manifest = json!({"name": "core", "version": "1.0.0-rc.1", "directories": {"bin": directory}});
        if bin != json!({}) {
            manifest["bin"] = bin;
        }
        let manifest = place.package(manifest, &[], &files);
        // Without one npm does not publish a prerelease.
        let mut base = base.clone();
        base.insert("npm_config_tag".into(), "rc".into());
        place.is_as_by_npm(&manifest, &base, &toolchain);
    }
}

#[tokio::test]
async fn a_machine_without_npm_is_told_so_in_one_line() {
    let place = Place::new().await;
    let scratch = place.at("scratch");
    let programs = place.at("programs");
    fs::create_dir(&programs).unwrap();
    let mut base = place.base(&[]);
    base.insert("PATH".into(), programs.display().to_string());
    let why = Toolchain::ask(&base, &scratch, started).await.unwrap_err();
    assert!(why.starts_with("npm did not say what it tells scripts: "), "{why}");
    broken_npm(&programs.join("npm"));
    let why = Toolchain::ask(&base, &scratch, started).await.unwrap_err();
    assert_eq!(why, "npm did not say what it tells scripts: exit status: 7");
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
}

/// Starts npm as a worker does, but for the guard.
async fn started(question: &Question) -> Result<(), String> {
    let mut command = std::process::Command::new("npm");
    command.args(question.argv.iter().skip(1)).current_dir(question.folder()).env_clear().envs(&question.env);
    let ended = command.output().map_err(|error| error.to_string())?;
    if ended.status.success() { Ok(()) } else { Err(ended.status.to_string()) }
}

fn broken_npm(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(file, "#!/bin/sh\necho >&2; echo npm error code EBROKEN >&2; exit 7\n").unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}
