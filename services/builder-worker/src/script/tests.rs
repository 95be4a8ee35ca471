use serde_json::json;

use super::{toolchain::Told, *};

type Env = BTreeMap<String, String>;

fn env(variables: &[(&str, &str)]) -> Env {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// An npm that tells this too.
fn toolchain(more: &[(&str, &str)]) -> Toolchain {
    let asked = npm("http://127.0.0.1:9/packline", "/ask");
    let given = env(&[("PATH", "/bin"), ("HOME", "/ask/home"), ("CI", "true")]);
    let mut told = given.clone();
    told.extend(env(&[
        ("PATH", "/ask/package/node_modules/.bin:/ask/node_modules/.bin:/node_modules/.bin:/lib/npm/gyp:/bin"),
        ("INIT_CWD", "/ask/package"),
        ("PWD", "/ask/package"),
        ("npm_command", "run"),
        ("npm_config_cache", "/ask/cache"),
        ("npm_config_registry", "http://127.0.0.1:9/packline/"),
        ("npm_config_userconfig", "/ask/npmrc"),
        ("npm_config_init_module", "/ask/home/.npm-init.js"),
        ("npm_config_npm_version", "99.1.0"),
        ("npm_lifecycle_event", "packline"),
        ("npm_package_name", "packline"),
    ]));
    told.extend(env(more));
    Toolchain::of(Told { env: told, node: "v30.0.0".into() }, &given, &asked, Path::new("/ask"))
}

fn npm(registry: &str, folder: &str) -> Npm {
    let folder = Path::new(folder);
    Npm {
        registry: registry.into(),
        scopes: Vec::new(),
        userconfig: folder.join("npmrc"),
        cache: folder.join("cache"),
        in_workspace: false,
        ignore_scripts: false,
    }
}

fn script(manifest: &Value, event: Event<'_>, registry: &str, toolchain: &Toolchain) -> Option<Script> {
    let base = env(&[("PATH", "/usr/bin"), ("HOME", "/b/home"), ("NUL", "a\0b")]);
    let context = Context { folder: Path::new("/b/missing"), base: &base, npm: &npm(registry, "/b"), toolchain };
    Script::new(manifest, event, &context)
}

const ALL: [Event<'static>; 6] = [
    Event::PrepublishOnly,
    Event::Prepack,
    Event::Prepare,
    Event::Postpack { integrity: "sha512-x" },
    Event::Publish,
    Event::Postpublish,
];

#[test]
fn what_npm_told_once_is_filled_in_for_each_script() {
    let manifest = json!({"name": "x", "version": "1.0.0", "scripts": {"prepare": "true"}});
    let script = script(&manifest, Event::Prepare, "http://h:1", &toolchain(&[])).unwrap();
    assert_eq!(script.argv, ["/bin/sh", "-c", "true"]);
    let expected = env(&[
        ("PATH", "/b/missing/node_modules/.bin:/b/node_modules/.bin:/node_modules/.bin:/lib/npm/gyp:/usr/bin"),
        ("HOME", "/b/home"),
        ("INIT_CWD", "/b/missing"),
        ("npm_command", "publish"),
        ("npm_config_cache", "/b/cache"),
        ("npm_config_registry", "http://h:1/"),
        ("npm_config_userconfig", "/b/npmrc"),
        ("npm_config_init_module", "/b/home/.npm-init.js"),
        ("npm_config_npm_version", "99.1.0"),
        ("npm_lifecycle_event", "prepare"),
        ("npm_lifecycle_script", "true"),
        ("npm_package_name", "x"),
        ("npm_package_version", "1.0.0"),
        ("npm_package_json", "/b/missing/package.json"),
        ("npm_package_resolved", "/b/missing"),
        ("npm_package_integrity", "null"),
    ]);
    assert_eq!(script.env, expected);
    assert_eq!((toolchain(&[]).npm_version(), toolchain(&[]).node_version()), ("99.1.0", "30.0.0"));
}

#[test]
fn only_text_of_exactly_that_name_is_a_script() {
    let toolchain = toolchain(&[]);
    for event in ALL {
        let name = event.name();
        for value in [json!(""), json!(7), json!(null), json!(["true"]), json!({"run": "true"})] {
            let manifest = json!({"name": "x", "version": "1.0.0", "scripts": {name: value}});
            assert_eq!(script(&manifest, event, "http://h:1", &toolchain), None, "{manifest}");
        }
        let around = json!({format!("pre{name}"): "true", format!("post{name}"): "true", name.to_uppercase(): "true"});
        let mut around = around.as_object().unwrap().clone();
        // `postpublish` is an event, too.
        around.remove(name);
        assert_eq!(script(&json!({"scripts": around}), event, "http://h:1", &toolchain), None, "{around:?}");
        for scripts in [json!(null), json!("true"), json!([name]), json!({})] {
            assert_eq!(script(&json!({ "scripts": scripts }), event, "http://h:1", &toolchain), None, "{scripts}");
        }
        assert_eq!(
            script(&json!({"scripts": {name: "true"}}), event, "http://h:1", &toolchain).unwrap().argv[2],
            "true"
        );
    }
    assert_eq!(script(&json!(null), Event::Prepack, "http://h:1", &toolchain), None);
}

#[test]
fn a_program_of_a_dependency_is_found_on_path_where_npm_reads_to_publish() {
    let toolchain = toolchain(&[]);
    for (text, to_publish) in [
        ("node_modules/.bin/tsc -p .", "tsc -p ."),
        ("./node_modules/.bin/tsc", "tsc"),
        (".\\node_modules\\.bin\\tsc", "tsc"),
        ("x node_modules/.bin/tsc", "x node_modules/.bin/tsc"),
        ("/node_modules/.bin/tsc", "/node_modules/.bin/tsc"),
        ("node_modules/tsc", "node_modules/tsc"),
    ] {
        for event in ALL {
            let manifest = json!({"scripts": {event.name(): text}});
            let script = script(&manifest, event, "http://h:1", &toolchain).unwrap();
            let expected = if event.reading() == Reading::ToPublish { to_publish } else { text };
            assert_eq!(script.argv[2], expected, "{event:?}");
            assert_eq!(script.env["npm_lifecycle_script"], expected);
        }
    }
}

#[test]
fn settings_of_npm_on_the_machine_hold() {
    let manifest = json!({"scripts": {"prepack": "true"}});
    let of = |more: &[(&str, &str)]| script(&manifest, Event::Prepack, "http://h:1", &toolchain(more));
    assert_eq!(of(&[("npm_config_ignore_scripts", "true")]), None);
    let script = of(&[("npm_config_script_shell", "/bin/bash"), ("npm_config_ignore_scripts", "")]).unwrap();
    assert_eq!(script.argv, ["/bin/bash", "-c", "true"]);
}

#[test]
fn settings_of_npm_in_the_build_count_for_more_than_those_of_the_machine() {
    let manifest = json!({"scripts": {"prepack": "true"}});
    let toolchain = toolchain(&[("npm_config_ignore_scripts", "true"), ("npm_config_script_shell", "/bin/bash")]);
    let of = |base: &[(&str, &str)]| {
        let (base, npm) = (env(base), npm("http://h:1", "/b"));
        let context = Context { folder: Path::new("/b/missing"), base: &base, npm: &npm, toolchain: &toolchain };
        Script::new(&manifest, Event::Prepack, &context)
    };
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[("NPM_CONFIG_IGNORE_SCRIPTS", "")]), None);
    for name in ["NPM_CONFIG_IGNORE_SCRIPTS", "npm_config_ignore-scripts"] {
        let script = of(&[(name, "false"), ("npm_config_script_shell", "/bin/dash")]).unwrap();
        assert_eq!(script.argv[0], "/bin/dash");
        assert_eq!(script.env[name], "false");
    }
}

#[test]
fn the_registry_is_told_unless_it_is_npms_own() {
    let manifest = json!({"scripts": {"prepack": "true"}});
    let of = |registry| script(&manifest, Event::Prepack, registry, &toolchain(&[])).unwrap().env;
    assert_eq!(of("https://r.example.com/npm")["npm_config_registry"], "https://r.example.com/npm/");
    assert_eq!(of(packline_npm::DEFAULT_REGISTRY).get("npm_config_registry"), None);
}

#[test]
fn the_banner_is_npms() {
    let of = |manifest: Value| script(&manifest, Event::Publish, "http://h:1", &toolchain(&[])).unwrap().banner;
    let scripts = json!({"publish": "  one\n two\n"});
    assert_eq!(
        of(json!({"name": "@a/b", "version": "v1.0.0+x", "scripts": scripts})),
        ["", "> @a/b@1.0.0 publish", "> one", ">  two", ""]
    );
    assert_eq!(of(json!({"name": "@a/b", "scripts": scripts}))[1], "> publish");
}
