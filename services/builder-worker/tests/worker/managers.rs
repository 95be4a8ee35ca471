//! Workspaces of other package managers, and of other versions of npm and Node than those of the machine.

use std::fs;

use packline_domain::Outcome;
use packline_testkit::{
    tools,
    workspaces::{self, Made},
};
use serde_json::{Value, json};

use crate::workspaces::{Bench, build};

crate::workspaces::cases! {
    fn npm_of_the_version_that_is_asked_for() { "npm-10" }
    fn pnpm() { "pnpm-12" }
    fn yarn() { "yarn-1", "yarn-4-pnp" }
    fn what_pnpm_reads() { "pnpm-patch", "pnpm-hooks", "pnpm-catalog", "pnpm-scripts" }
    fn what_pnpm_packs() { "pnpm-directory", "pnpm-nested-run", "pnpm-own-ways" }
    fn what_yarn_reads() { "yarn-patch", "yarn-portal" }
    fn what_a_lock_file_takes_from_elsewhere() { "yarn-locked-member", "pnpm-locked-member" }
    fn what_is_too_young() { "pnpm-own-young", "pnpm-young", "yarn-own-young", "yarn-young" }
}

#[test]
fn every_workspace_of_a_manager_is_built() {
    // By tests that look at more of what comes of them.
    const ELSEWHERE: &[&str] = &["npm-12", "pnpm-10", "pnpm-publish-config", "yarn-4"];
    let mut built: Vec<&str> = BUILT.iter().copied().flatten().chain(ELSEWHERE).copied().collect();
    built.sort_unstable();
    let mut all: Vec<&str> = workspaces::of_managers().iter().map(|case| case.name).collect();
    all.sort_unstable();
    assert_eq!(built, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_overlay_works_they_are_built_in_copies() {
    build(&["pnpm-10", "yarn-4", "yarn-4-pnp"], Bench::without_overlays).await;
}

/// The package.json of what is published of a member.
fn packed(bench: &Bench, name: &str, version: &str) -> Value {
    let tarball = bench.registry.tarball(name, version).unwrap();
    let Made::Packed(files) = Made::packed(&tarball).unwrap() else { panic!("a tarball") };
    serde_json::from_str(files.get("package.json").unwrap()).unwrap()
}

/// How often a package was fetched.
fn fetched(bench: &Bench, package: &str) -> usize {
    let tarball = format!("/{package}/-/");
    bench.registry.requests().iter().filter(|request| request.path.replace("%2f", "/").starts_with(&tarball)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_of_the_machine_is_used_where_it_will_do() {
    let (own, elsewhere) = (tools::PNPM10.unpacked().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(own.join("bin/pnpm.cjs"), elsewhere.path().join("pnpm")).unwrap();
    let npm = tools::npm11().await.unwrap().path();
    let path = format!("{}:{}", elsewhere.path().display(), npm.to_str().unwrap());
    for (name, times) in [("pnpm-10", 0), ("pnpm-12", 1)] {
        let case = workspaces::case(name);
        let mut bench = Bench::with(&case, &[("PATH", &path)]).await;
        assert_eq!(bench.problem(&case.members[0]).await, None, "{name}");
        assert_eq!(fetched(&bench, "pnpm"), times, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_names_versions_and_has_what_publish_config_says() {
    for (name, pinned) in [("pnpm-10", "pnpm"), ("yarn-4", "@yarnpkg/cli-dist")] {
        let case = workspaces::case(name);
        let mut bench = Bench::start(&case).await;
        for member in &case.members {
            assert_eq!(bench.problem(member).await, None, "{name}");
        }
        let dependencies = packed(&bench, "@acme/app", "1.0.0")["dependencies"].clone();
        assert_eq!(dependencies, json!({"@acme/core": "^1.2.3", "tiny-dep": "^1.0.0"}), "{name}");
        assert_eq!(fetched(&bench, pinned), 1, "{name}: one layer for both builds");
    }
    let case = workspaces::case("pnpm-publish-config");
    let mut bench = Bench::start(&case).await;
    assert_eq!(bench.problem(&case.members[0]).await, None);
    let packed = packed(&bench, "@acme/a", "1.0.0");
    assert_eq!((&packed["main"], &packed["types"]), (&json!("dist/index.js"), &json!("dist/index.d.ts")));
    assert_eq!(packed["scripts"], json!({}), "as pnpm packs it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_packed_by_the_npm_that_is_asked_for() {
    let case = workspaces::case("npm-12");
    let mut bench = Bench::start(&case).await;
    for member in &case.members {
        assert_eq!(bench.problem(member).await, None);
    }
    let document = bench.registry.document("@acme/core").unwrap();
    let said = |name: &str| document["versions"]["1.2.3"][name].as_str().map(str::to_owned);
    assert_eq!([said("_npmVersion"), said("_nodeVersion")], ["12.2.2", "22.23.5"].map(|text| Some(text.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_not_the_fault_of_the_workspace() {
    for name in ["pnpm-10", "pnpm-12", "yarn-1", "yarn-4"] {
        let case = workspaces::case(name);
        let result = Bench::without_registry(&case).await.build(&case.members[0]).await;
        assert_eq!(
            (result.outcome, result.failed_phase.as_deref()),
            (Outcome::Infrastructure, Some("install")),
            "{name}: {result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_nobody_has_or_that_is_another_one_is_refused_in_one_line() {
    for (pin, outcome, says) in [
        ("npm@99.0.0", Outcome::Failed, "the registry has no npm 99.0.0 (packageManager of package.json)"),
        ("npm@10.9.9+sha512.00ff", Outcome::Infrastructure, "packageManager names the sha512 00ff, and it is "),
    ] {
        let case = workspaces::case("npm-10");
        let mut bench = Bench::start(&case).await;
        let file = bench.foreman.workspace().join("package.json");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("npm@10.9.9", pin)).unwrap();
        let result = bench.build(&case.members[0]).await;
        let error = result.error.unwrap_or_default();
        assert_eq!((result.outcome, error.lines().count()), (outcome, 1), "{error}");
        assert!(error.contains(says), "{error}");
    }
}
