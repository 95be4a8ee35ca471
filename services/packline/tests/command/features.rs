//! A first `cargo demo` compiles each crate once: `cargo run -p packline`, and the build of all programs that
//! packline then starts, agree on the features of every crate.
use std::{collections::BTreeSet, process::Command};

/// Each crate of others that cargo would build for programs, with its features.
fn crates(selection: &[&str]) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--no-dedupe"]);
    tree.args(["--format", "{p} {f}"]).args(selection).current_dir(env!("CARGO_MANIFEST_DIR"));
    let ended = tree.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let text = String::from_utf8(ended.stdout).unwrap();
    let others = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("packline"));
    others.map(str::to_owned).collect()
}

#[test]
fn packline_alone_and_all_programs_are_built_with_the_same_features() {
    let (alone, all) = (crates(&["--package", "packline"]), crates(&["--workspace"]));
    let differences: Vec<&String> = all.symmetric_difference(&alone).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(alone.len() > 100, "{alone:?}");
}
