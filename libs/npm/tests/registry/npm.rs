//! The same settings, read by npm itself.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use packline_npm::{Environment, Settings};
use serde_json::Value;

use crate::stand::{SOON, Stand, answer, client};

/// A home with files, and variables.
struct Home {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Home {
    fn new(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let at = folder.path().to_str().unwrap().to_owned();
        let mut all: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.replace("HERE", &at))).collect();
        all.insert("HOME".into(), at);
        all.insert("PATH".into(), env::var("PATH").unwrap());
        Self { folder, variables: all }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn npm(&self, arguments: &[&str]) -> Command {
        let mut npm = Command::new("npm");
        npm.args(arguments).args(["--no-update-notifier", "--fetch-retries=0"]);
        // Not where the user's file would be that of a project.
        let empty = self.path().join("empty");
        fs::create_dir_all(&empty).unwrap();
        npm.env_clear().envs(&self.variables).current_dir(empty);
        npm
    }

    fn settings(&self) -> Settings {
        Settings::read(Environment::new(self.variables.clone(), self.path().to_owned())).unwrap()
    }
}

#[test]
fn npm_reads_the_same_registries() {
    for (files, variables) in [
        (
            &[
                (
                    ".npmrc",
                    "registry=https://user.example/npm\n@acme:registry = \"https://${ORG?}acme.example\" ; said",
                ),
                ("prefix/etc/npmrc", "@acme:registry=https://no.example\n@global:registry=https://global.example"),
            ][..],
            &[("PREFIX", "HERE/prefix"), ("ORG", "x.")][..],
        ),
        (
            &[
                (".npmrc", "registry=https://no.example"),
                ("mine", "prefix=~/p\n[section]\n@acme:registry=https://no.example"),
                ("p/etc/npmrc", "registry=https://global.example\n@global:registry=https://h:1/a//"),
            ][..],
            &[("NPM_CONFIG_USERCONFIG", "~/mine"), ("npm_config_@acme:registry", "https://variable.example")][..],
        ),
    ] {
        let home = Home::new(files, variables);
        let ended = home.npm(&["config", "ls", "--json"]).output().unwrap();
        let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
        let settings = home.settings();
        let by_npm = |key: &str| said[key].as_str().or(said["registry"].as_str()).unwrap().trim_end_matches('/');
        assert_eq!(settings.registry(None), by_npm("registry"));
        for scope in ["@acme", "@global", "@none"] {
            assert_eq!(settings.registry(Some(scope)), by_npm(&format!("{scope}:registry")), "{scope}");
        }
    }
}

#[tokio::test]
async fn npm_sends_the_same() {
    // The registry is at /npm; what stands for it is HOST.
    for (user, variable) in [
        ("HOST/npm/:_authToken=abc", ("A", "")),
        ("HOST/npm:_authToken=${A}", ("A", "def")),
        ("HOST/:_authToken='abc;d' ; said", ("A", "")),
        ("HOST/other/:_authToken=abc", ("A", "")),
        ("HOST/:_auth=\"YTpi\"\nHOST/npm/:username=me\nHOST/npm/:_password=c2VjcmV0", ("A", "")),
        ("HOST/:_authToken=abc", ("npm_config_HOST/:_authToken", "variable")),
    ] {
        let registry = Stand::new(|_| answer(200, &[], r#"{"name": "x", "versions": {}}"#));
        let host = registry.url.trim_start_matches("http:");
        let at = format!("{}/npm/", registry.url);
        let user = format!("registry={at}\n{}\n", user.replace("HOST", host));
        let home = Home::new(&[(".npmrc", &user)], &[(&variable.0.replace("HOST", host), variable.1)]);
        home.npm(&["view", "x", "versions"]).output().unwrap();
        let by_npm = registry.seen();
        let settings = home.settings();
        client(&settings.access(&settings.registry(None)).unwrap()).look("x", SOON).await.unwrap();
        let ours = registry.seen().pop().unwrap();
        assert_eq!(registry.seen().len(), by_npm.len() + 1);
        assert_eq!(ours.header("authorization"), by_npm[0].header("authorization"), "{user}");
        assert_eq!(ours.target, by_npm[0].target);
    }
}

#[test]
fn what_lies_beside_npm_and_node_is_read() {
    let files = [
        ("lib/npm/npmrc", "registry=https://builtin.example\n@global:registry=https://no.example"),
        ("lib/npm/bin/npm-cli.js", ""),
        ("usr/bin/node", ""),
        ("usr/etc/npmrc", "@global:registry=https://global.example"),
        ("root/etc/npmrc", "@global:registry=https://destdir.example"),
        ("elsewhere/npm", "no program"),
    ];
    let home = Home::new(&files, &[]);
    let at = |name: &str| home.path().join(name);
    for program in ["lib/npm/bin/npm-cli.js", "usr/bin/node"] {
        fs::set_permissions(at(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir(at("bin")).unwrap();
    symlink("../lib/npm/bin/npm-cli.js", at("bin/npm")).unwrap();
    symlink(at("usr/bin/node"), at("bin/node")).unwrap();
    let path = env::join_paths([at("elsewhere"), at("none"), at("bin")]).unwrap().into_string().unwrap();
    let read = |variables: &[(&str, &str)]| {
        let always = [("PATH", path.as_str()), ("HOME", "/nowhere")];
        let all = variables.iter().chain(&always);
        let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(Environment::new(all, at("."))).unwrap()
    };
    let settings = read(&[]);
    assert_eq!(settings.registry(None), "https://builtin.example");
    assert_eq!(settings.registry(Some("@global")), "https://global.example");
    let below = format!("{}/root", home.path().display());
    fs::create_dir_all(at("root").join(at("usr/etc").strip_prefix("/").unwrap())).unwrap();
    fs::rename(at("root/etc/npmrc"), at("root").join(at("usr/etc/npmrc").strip_prefix("/").unwrap())).unwrap();
    assert_eq!(read(&[("DESTDIR", &below)]).registry(Some("@global")), "https://destdir.example");
    assert_eq!(read(&[("PREFIX", "/nowhere")]).registry(Some("@global")), "https://no.example");
}
