//! What tools really print, and the cause that is found in it.

use std::{fs, path::Path};

use packline_cause::{Finder, plain};

const SAMPLES: &[(&str, &str)] = &[
    ("esbuild", r#"src/unres.js:1:14: Could not resolve "./nowhere.js""#),
    ("esbuild-syntax", r#"src/syntax.js:1:17: Unexpected ";""#),
    ("eslint", "/build/src/lint.js:1:7: 'a' is assigned a value but never used (no-unused-vars)"),
    ("eslint-config", "Error: ENOENT: no such file or directory, stat '/build/nowhere.js'"),
    ("jest", "sum › adds: expect(received).toBe(expected) // Object.is equality"),
    ("mocha", "sum adds: AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:"),
    (
        "node-error",
        "Error [ERR_MODULE_NOT_FOUND]: Cannot find module '/build/src/nowhere.js' imported from /build/src/unres.js",
    ),
    ("node-test-24-spec", "✖ adds: AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:"),
    ("node-test-spec", "✖ adds: AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:"),
    ("node-test-tap", "not ok: adds: Expected values to be strictly equal:"),
    ("npm-e404", "E404: Not Found - GET http://127.0.0.1:4873/@acme-nobody%2fnone-such"),
    (
        "npm-ebadengine",
        r#"EBADENGINE: Not compatible with your version of node/npm: a@1.0.0, which require: {"node":">=99"}"#,
    ),
    ("npm-eresolve", r#"ERESOLVE: could not resolve dependency: peer react@"^18.2.0" from react-dom@18.2.0"#),
    ("npm-etarget", "ETARGET: No matching version found for left-pad@99.0.0."),
    (
        "npm-run-not-found",
        "tsc: not found; neither the package nor the root of its workspace depends on a package that has this program",
    ),
    (
        "pnpm-lockfile",
        r#"OUTDATED_LOCKFILE: Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date with <ROOT>/package.json"#,
    ),
    (
        "pnpm-run",
        "tsc: not found; neither the package nor the root of its workspace depends on a package that has this program",
    ),
    ("rollup", "RollupError: src/syntax.js (1:17): Expression expected"),
    ("rollup-unres", r#"RollupError: Could not resolve "./nowhere.js" from "src/unres.js""#),
    ("tsc", "src/index.ts(1,14): error TS2322: Type 'string' is not assignable to type 'number'."),
    ("tsc-pretty", "src/index.ts:1:14 - error TS2322: Type 'string' is not assignable to type 'number'."),
    ("vite", r#"Could not resolve entry module "src/index.html"."#),
    ("vitest", "× sum > adds: expected 2 to be 3 // Object.is equality"),
    ("yarn1-lockfile", "Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`."),
    ("yarn1-run", "error TS5057: Cannot find a tsconfig.json file at the specified directory: '.'."),
    ("yarn4-lockfile", "YN0028: The lockfile would have been modified by this install, which is explicitly forbidden."),
    ("yarn4-none", "YN0082: left-pad@npm:99.0.0: No candidates found"),
];

fn cause(text: &str) -> Option<String> {
    let mut finder = Finder::default();
    text.lines().for_each(|line| finder.line(&plain(line)));
    finder.cause()
}

#[test]
fn the_first_error_of_each_tool_is_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut wrong = Vec::new();
    for (name, expected) in SAMPLES {
        let text = fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
        let found = cause(&text);
        if found.as_deref() != Some(*expected) {
            wrong.push(format!("{name}\n  is       {found:?}\n  expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut files: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let names: Vec<&str> = SAMPLES.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, names, "each sample is tested");
}

#[test]
fn an_unknown_tool_is_told_by_the_first_line_that_looks_like_an_error() {
    for (text, expected) in [
        ("> test\nok 1\nAssertionError: 1 != 2\nmore\n", Some("AssertionError: 1 != 2")),
        (
            "starts\nsrc/a.c:3:1: error: expected ';'\nsrc/a.c:9:1: error: more\n2 errors generated.",
            Some("src/a.c:3:1: error: expected ';'"),
        ),
        ("fatal: not a git repository\nhelp", Some("fatal: not a git repository")),
        ("one\ntwo\n\n", Some("two")),
        // What passing tests print, and a program that a script does without.
        (
            "PASS a\n  ● Console\n\n    console.log\n      hello\n\n  ● sum › adds\n\n    boom\n",
            Some("sum › adds: boom"),
        ),
        ("sh: 1: husky: not found\nsrc/a.ts(1,2): error TS1: no", Some("src/a.ts(1,2): error TS1: no")),
        ("0 errors\nno error was found\nall done", Some("all done")),
        ("npm error code 1\nnpm error path /a\nnpm error command failed", Some("npm error code 1")),
        ("> @acme/p@1.0.0 test", None),
        ("", None),
        // What is overwritten is not seen.
        ("10%\r50%\rERROR: \u{1b}[31mit is broken\u{1b}[0m", Some("ERROR: it is broken")),
    ] {
        assert_eq!(cause(text).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn a_cause_is_one_line_of_bounded_length() {
    let found = cause(&format!("Error: {}", "long ".repeat(1000))).unwrap();
    assert_eq!(found.chars().count(), 400);
}
