//! Paths are hostile until parsed, and one of another shape harms nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use packline_domain::{Package, PackageName, PackagePath, record::Queue};
use serde_json::{Value, json};

const HOSTILE: [&str; 19] = [
    "",
    "/",
    "/etc",
    "..",
    "../x",
    "src/..",
    "src/../../x",
    "./src",
    "src/.",
    "src/./x",
    "src//x",
    "src/",
    "./",
    "a\0b",
    "a\nb",
    "a\u{7f}b",
    "a\u{85}b",
    "a/\u{1b}[31m",
    "\t",
];

#[test]
fn hostile_paths_are_refused_in_one_line() {
    for path in HOSTILE {
        let error = path.parse::<PackagePath>().expect_err(path).to_string();
        assert!(!error.contains(char::is_control) && error.len() < 200, "{error}");
        assert!(serde_json::from_value::<PackagePath>(json!(path)).is_err(), "{path}");
    }
    assert!("é".repeat(512).parse::<PackagePath>().is_ok());
    let error = format!("{}x", "é".repeat(512)).parse::<PackagePath>().unwrap_err().to_string();
    assert!(error.contains("at most 1024 bytes") && error.len() < 250, "{error}");
}

#[test]
fn folders_that_people_have_are_paths() {
    for path in
        [".", "src/everything", "core", "packages/agents/builder", ".config/x", "mein büro ☕/a..b", "-x/_y", "a\\b"]
    {
        let read: PackagePath = path.parse().unwrap();
        assert_eq!((read.as_str(), json!(read)), (path, json!(path)));
        assert_eq!(read.is_root(), path == ".");
    }
    let root: PackagePath = ".".parse().unwrap();
    assert_eq!(root.below_root().to_str(), Some(""));
    let name: PackageName = "@acme/core".parse().unwrap();
    let usual = PackagePath::of_name(&name);
    assert_eq!((usual.as_str(), usual.below_root().to_str()), ("packages/core", Some("packages/core")));
    assert!(usual.is_of_name(&name) && !root.is_of_name(&name));
}

fn both(fields: &Value) -> Package {
    let (parsed, read) = (Package::parse(fields).unwrap(), serde_json::from_value::<Package>(fields.clone()).unwrap());
    assert_eq!(parsed, read, "a record says what the announcement said");
    assert_eq!(serde_json::from_value::<Package>(json!(read)).unwrap(), read);
    read
}

#[test]
fn a_package_with_a_path_of_another_shape_is_as_before_and_says_why_the_path_is_ignored() {
    let good = both(&json!({"name": "@acme/core", "path": "src/core", "ref": "main"}));
    assert_eq!((good.folder().as_str(), good.ignored_fields()), ("src/core", vec![]));
    assert_eq!(good.extra.keys().collect::<Vec<_>>(), ["ref"]);
    let wrong = [json!("../x"), json!(""), json!(7), json!(["src"]), json!({"a": 1}), json!("x".repeat(1025))];
    for path in wrong {
        let package = both(&json!({"name": "@acme/core", "path": path}));
        assert_eq!((package.folder().as_str(), &package.path), ("packages/core", &None));
        assert_eq!(json!(package)["path"], path, "fields of their own are passed on");
        let [("path", why)] = &package.ignored_fields()[..] else { panic!("the path is ignored") };
        assert!(why.contains("path") && why.len() < 300, "{why}");
    }
    for none in [json!({"name": "@acme/core"}), json!({"name": "@acme/core", "path": null})] {
        let package = both(&none);
        assert_eq!((package.folder().as_str(), package.ignored_fields()), ("packages/core", vec![]));
        assert_eq!(json!(package).get("path"), None);
    }
}

#[test]
fn names_to_be_built_after_are_read_each_once_and_a_list_of_another_shape_is_an_own_field() {
    let good = both(&json!({"name": "@acme/core", "buildAfter": ["b", "@acme/a", "b"]}));
    assert_eq!(json!(good.build_after), json!(["b", "@acme/a"]));
    assert!(good.ignored_fields().is_empty() && good.extra.is_empty());
    let many: Vec<String> = (0..1001).map(|number| format!("p{number}")).collect();
    for wrong in [json!("b"), json!([1]), json!(["../b"]), json!({"b": 1}), json!(7), json!(many)] {
        let package = both(&json!({"name": "@acme/core", "buildAfter": wrong}));
        assert!(package.build_after.is_empty());
        assert_eq!(json!(package)["buildAfter"], wrong, "fields of their own are passed on");
        let [("buildAfter", why)] = &package.ignored_fields()[..] else { panic!("it is ignored") };
        assert!(why.starts_with("`buildAfter` ") && why.len() < 300, "{why}");
    }
    for none in [json!({"name": "a"}), json!({"name": "a", "buildAfter": null}), json!({"name": "a", "buildAfter": []})]
    {
        assert_eq!(json!(both(&none)).get("buildAfter"), None);
    }
    let of = |names: Value| Package::parse(&json!({"name": "a", "buildAfter": names})).unwrap();
    assert!(!of(json!(["b"])).builds_differently(&of(json!(["c"]))), "it is the same to build");
}

#[test]
fn another_folder_is_something_else_to_build_and_the_usual_one_by_its_path_is_not() {
    let of = |path: Value| Package::parse(&json!({"name": "@acme/core", "path": path})).unwrap();
    assert!(of(json!(null)).builds_differently(&of(json!("src/core"))));
    assert!(!of(json!(null)).builds_differently(&of(json!("packages/core"))));
}

#[test]
fn a_record_of_the_queue_with_any_path_is_read() {
    let record = |path: Value| {
        json!({"schema": 1, "package": {"name": "a", "path": path}, "state": "queued", "arrival": 1,
            "queuedAt": "2026-01-01T00:00:00Z", "announcedAt": "2026-01-01T00:00:00Z", "commit": 1})
    };
    for (path, folder) in [(json!(5), "packages/a"), (json!("src/a"), "src/a"), (json!("/a"), "packages/a")] {
        let read: Queue = serde_json::from_value(record(path.clone())).unwrap();
        assert_eq!(read.package.folder().as_str(), folder);
        assert_eq!(json!(read)["package"]["path"], path);
    }
}
