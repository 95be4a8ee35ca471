//! Workspaces on disk, beside what npm makes of them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod graph;
mod managers;
mod members;
mod ranges;
mod refused;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use packline_workspace::{Member, MemberId, Workspace};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a package.json for each of `packages`, the root's first.
fn tree(packages: &[(&str, Value)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (folder, manifest) in packages {
        write(&root.path().join(folder), manifest);
    }
    root
}

fn write(folder: &Path, manifest: &Value) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
}

fn read(root: &TempDir) -> Workspace {
    Workspace::read(root.path()).unwrap_or_else(|error| panic!("{error}"))
}

fn folder(workspace: &Workspace, id: MemberId) -> String {
    workspace.member(id).map(|member| member.folder().display().to_string()).unwrap()
}

fn folders(workspace: &Workspace) -> Vec<String> {
    workspace.members().iter().map(|member| member.folder().display().to_string()).collect()
}

fn member<'a>(workspace: &'a Workspace, folder: &str) -> &'a Member {
    workspace.member_in(Path::new(folder)).unwrap_or_else(|| panic!("no {folder}"))
}

/// Asks the parts of the npm on the PATH.
fn npm(question: &Value) -> Value {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/workspace/npm.mjs");
    let mut node = Command::new("node");
    let mut node = node.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}
