//! Folders that are no workspace, each with the one line that says so.

use std::fs;

use packline_workspace::Workspace;
use serde_json::json;
use tempfile::TempDir;

use crate::write;

fn refusal(root: &TempDir) -> String {
    let error = Workspace::read(root.path()).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error.replace(&root.path().canonicalize().unwrap().display().to_string(), "DIR")
}

#[test]
fn a_folder_without_a_workspace_gets_one_line() {
    let array = "has `workspaces` that are not an array of folders like \"packages/*\"";
    for (manifest, line) in [
        (
            json!({"name": "plain"}).to_string(),
            "DIR/package.json has no `workspaces`, an array of folders like \"packages/*\", and is no package by itself: \
             it has no version"
                .to_owned(),
        ),
        (
            json!({"workspaces": null}).to_string(),
            "DIR/package.json has no `workspaces`, an array of folders like \"packages/*\", and is no package by itself: \
             it has no name and no version"
                .to_owned(),
        ),
        (json!({"workspaces": "packages/*"}).to_string(), format!("DIR/package.json {array}")),
        (json!({"workspaces": {"nohoist": []}}).to_string(), format!("DIR/package.json {array}")),
        (json!({"workspaces": ["a", 1]}).to_string(), format!("DIR/package.json {array}")),
        (
            json!({"workspaces": ["packages/[a"]}).to_string(),
            "DIR/package.json has the pattern \"packages/[a\", which is not understood: unclosed character class; \
             missing ']'"
                .to_owned(),
        ),
        (
            json!({"workspaces": ["!packages/@(a|b)"]}).to_string(),
            "DIR/package.json has the pattern \"!packages/@(a|b)\", which is not understood: a group in parentheses; \
             write `{a,b}`, or a pattern that begins with `!`"
                .to_owned(),
        ),
        (
            json!({"workspaces": ["{a,b}".repeat(20)]}).to_string(),
            format!(
                "DIR/package.json has the pattern \"{}\", which is not understood: its braces stand for too many patterns",
                "{a,b}".repeat(20)
            ),
        ),
        ("[]".to_owned(), "DIR/package.json is an array, not an object".to_owned()),
        (
            "{\n  \"name\": \"a\"\n  \"b\"".to_owned(),
            "DIR/package.json is not JSON: expected `,` or `}`, found '\"' at line 3, column 3".to_owned(),
        ),
    ] {
        let root = TempDir::new().unwrap();
        fs::write(root.path().join("package.json"), &manifest).unwrap();
        assert_eq!(refusal(&root), line, "{manifest}");
    }
    let empty = TempDir::new().unwrap();
    assert!(refusal(&empty).starts_with("failed to read DIR/package.json: "));
}

#[test]
fn settings_of_pnpm_and_yarn_that_are_not_understood_are_named() {
    let root = TempDir::new().unwrap();
    write(root.path(), &json!({"name": "single", "version": "1.0.0"}));
    for (text, line) in [
        ("packages: packages/*\n", "has `packages` that are not an array of folders like \"packages/*\""),
        ("packages: [1]\n", "has `packages` that are not an array of folders like \"packages/*\""),
        ("- packages/*\n", "is no list of settings, each a name and a value"),
    ] {
        fs::write(root.path().join("pnpm-workspace.yaml"), text).unwrap();
        assert_eq!(refusal(&root), format!("DIR/pnpm-workspace.yaml {line}"), "{text}");
    }
    fs::write(root.path().join("pnpm-workspace.yaml"), "packages: [").unwrap();
    assert!(refusal(&root).starts_with("DIR/pnpm-workspace.yaml is not YAML: "));
    fs::remove_file(root.path().join("pnpm-workspace.yaml")).unwrap();
    fs::write(root.path().join(".yarnrc.yml"), "nodeLinker: [").unwrap();
    assert!(refusal(&root).starts_with("DIR/.yarnrc.yml is not YAML: "));
}

#[test]
fn a_broken_lerna_json_is_named() {
    let root = TempDir::new().unwrap();
    write(root.path(), &json!({"name": "single", "version": "1.0.0"}));
    for (settings, line) in [
        (
            "{",
            "DIR/lerna.json is not JSON: expected a key in double quotes, found the end of the document at line 1, column 2",
        ),
        ("[]", "DIR/lerna.json is an array, not an object"),
        ("{\"packages\": \"a\"}", "DIR/lerna.json has `packages` that are not an array of folders like \"packages/*\""),
    ] {
        fs::write(root.path().join("lerna.json"), settings).unwrap();
        assert_eq!(refusal(&root), line);
    }
}

#[test]
fn managers_that_are_not_supported_and_workspaces_that_pnpm_does_not_read_are_named() {
    let rush = TempDir::new().unwrap();
    fs::write(rush.path().join("rush.json"), "{}").unwrap();
    let line = "DIR/rush.json makes this a workspace of Rush, which is not supported: npm, pnpm, Yarn and lerna are";
    assert_eq!(refusal(&rush), line);
    let root = TempDir::new().unwrap();
    write(root.path(), &json!({"name": "own", "workspaces": ["packages/*"], "packageManager": "pnpm@10.0.0"}));
    assert_eq!(
        refusal(&root),
        "DIR/package.json has `workspaces`, which pnpm does not read: it reads `packages` of pnpm-workspace.yaml, a list of \
         folders like \"packages/*\". It is no package by itself: it has no version"
    );
    write(root.path(), &json!({"name": "own", "packageManager": "pnpm@10.0.0"}));
    assert_eq!(
        refusal(&root),
        "DIR/package.json has no pnpm-workspace.yaml with `packages`, a list of folders like \"packages/*\", and is no \
         package by itself: it has no version"
    );
}
