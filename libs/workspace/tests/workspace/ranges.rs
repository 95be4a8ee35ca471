//! Which versions a range takes.

use packline_workspace::satisfies;
use serde_json::json;

use crate::npm;

#[test]
fn versions_satisfy_the_ranges_that_npm_says() {
    let ranges = [
        "",
        " ",
        "*",
        "x",
        "X",
        "1",
        "1.2",
        "1.x",
        "1.2.x",
        "1.2.*",
        "1.2.3",
        "=1.2.3",
        "v1.2.3",
        "= 1.2.3",
        "^1",
        "^1.2",
        "^1.2.3",
        "^0.2.3",
        "^0.0.3",
        "^0",
        "^0.x",
        "^1.2.3-beta.2",
        "^2.0.0-0",
        "^2.0.0-alpha",
        "~1",
        "~1.2",
        "~1.2.3",
        "~>1.2.3",
        "~0.2.3-rc.1",
        ">=1.2.3",
        ">1.2.3",
        "<2",
        "<=1.2",
        ">=1 <2",
        ">=1.0.0 <2.0.0-0",
        ">= 1.2.0",
        "1.2 - 2.3",
        "1.2.3 - 2.0.0",
        "1.2 - 2",
        "^1 || ^2",
        "^0.1||^2.0.0-rc.1",
        "1.2.3 || 2.0.0-rc.1",
        " ^1.2.3 ",
        "^*",
        "~*",
        ">=*",
        "* || 1",
        "latest",
        "next",
        "canary",
        "abc",
        "1.2.3.4",
        ">=0.0.0-0",
        "*-0",
        "^1.2.3+build",
        "^v1.2.3",
        "^2.0.0-rc.1 || ^1",
        ">2.0.0-rc.0",
        "<2.0.0",
        "2.0.0-rc.x",
        "~2.0.0-rc",
    ];
    let versions = [
        "0.0.0",
        "0.0.3",
        "0.0.0-development",
        "0.1.0",
        "0.2.3",
        "0.2.3-rc.2",
        "0.3.0",
        "1.0.0",
        "1.2.0",
        "1.2.3",
        "1.2.3-beta.1",
        "1.2.3-beta.2",
        "1.2.4",
        "1.2.4-beta.2",
        "1.3.0",
        "2.0.0-0",
        "2.0.0-alpha",
        "2.0.0-rc.1",
        "2.0.0",
        "2.1.0-rc.1",
        "3.0.0",
        "1.2.3+build.7",
        "v1.2.3",
        "=1.2.3",
        " 1.2.3",
        "1.2",
        "1.2.3beta",
        "01.2.3",
        "",
        "latest",
    ];
    let pairs: Vec<_> =
        ranges.iter().flat_map(|range| versions.iter().map(move |version| (*range, *version))).collect();
    let answers = npm(&json!({"ask": "ranges", "pairs": pairs}));
    let mut wrong = Vec::new();
    for ((range, version), npm) in pairs.iter().zip(answers.as_array().unwrap()) {
        if satisfies(Some(version), range) != npm.as_bool().unwrap() {
            wrong.push(format!("{version:?} in {range:?}: npm says {npm}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_a_version_only_what_takes_every_version_is_satisfied() {
    assert!(satisfies(None, "*") && satisfies(None, ""));
    assert!(!satisfies(None, ">=0.0.0-0") && !satisfies(None, "x") && !satisfies(None, "latest"));
}
