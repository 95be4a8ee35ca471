//! A first `cargo demo` compiles each crate once: `cargo run -p packline`, and the build of all programs that
//! packline then starts, agree on the features of every crate.
use std::{collections::BTreeSet, process::Command};

/// What is built for programs.
const PROGRAMS: &str = "normal,build";

/// Each crate of others that cargo would build along these edges, with its features.
fn crates(selection: &[&str], edges: &str) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--edges", edges, "--prefix", "none", "--no-dedupe"]);
    tree.args(["--format", "{p} {f}"]).args(selection).current_dir(env!("CARGO_MANIFEST_DIR"));
    let ended = tree.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let text = String::from_utf8(ended.stdout).unwrap();
    let others = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("packline"));
    others.map(str::to_owned).collect()
}

#[test]
fn packline_alone_and_all_programs_are_built_with_the_same_features() {
    let (alone, all) = (crates(&["--package", "packline"], PROGRAMS), crates(&["--workspace"], PROGRAMS));
    let differences: Vec<&String> = all.symmetric_difference(&alone).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(alone.len() > 100, "{alone:?}");
}

#[test]
fn tests_add_crates_and_no_features_so_that_the_programs_they_start_are_compiled() {
    let programs = crates(&["--workspace"], PROGRAMS);
    let all = crates(&["--workspace"], "normal,build,dev");
    let missing: Vec<&String> = programs.difference(&all).collect();
    assert!(missing.is_empty(), "built twice, for tests with more features: {missing:#?}");
}
