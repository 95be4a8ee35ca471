//! What `packline up` does where a package asks for a publish that is not its own.
use std::{collections::BTreeMap, ffi::OsStr, fs};

use packline_npm::DEFAULT_REGISTRY;
use packline_testkit::process::Process;
use serde_json::json;

use crate::{
    place::{PATIENCE, Place},
    up::until,
};

/// Of each program that it has started, whether this variable is in its environment.
fn programs_with(up: &Process, variable: &str) -> BTreeMap<String, bool> {
    let all = procfs::process::all_processes().unwrap().filter_map(Result::ok);
    let children = all.filter(|process| process.stat().is_ok_and(|stat| stat.ppid == up.pid()));
    let told = children.filter_map(|child| {
        let program = child.exe().ok()?.file_name()?.to_string_lossy().into_owned();
        Some((program, child.environ().ok()?.contains_key(OsStr::new(variable))))
    });
    told.collect()
}

#[tokio::test]
async fn another_registry_and_provenance_are_left_out_and_said_once_however_often_a_package_is_attempted() {
    let place = Place::new();
    let config = json!({"registry": DEFAULT_REGISTRY, "provenance": true, "access": "public"});
    place.package("public", "1.0.0", &json!({"publishConfig": config}));
    // The registry cannot look it up; by then the warnings are there.
    let storage = place.workspace().join(".packline/registry/storage/@own");
    fs::create_dir_all(&storage).unwrap();
    fs::write(storage.join("public"), "").unwrap();
    let up = place.up_with("up", &["--once", "--workers", "1"], &[("RETRY_BASE", "1s")]);
    until(&up, "retrying", || up.printed().contains("retrying")).await;
    for variable in ["npm_config_registry", "PUBLISH_CONFIG"] {
        let told = programs_with(&up, variable);
        assert!(told.len() >= 3, "{told:?}");
        assert!(told.iter().all(|(program, told)| *told == (program == "builder-worker")), "{variable}: {told:?}");
    }
    fs::remove_file(storage.join("public")).unwrap();
    let ended = tokio::time::timeout(PATIENCE, up.exited()).await.unwrap();
    let said = up.printed();
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(place.tarball("public", "1.0.0").is_file(), "{said}");
    let registry = said.lines().find_map(|line| line.trim().strip_prefix("registry")).unwrap();
    let registry = registry.split_whitespace().next().unwrap();
    let mut warnings: Vec<_> = said.lines().filter(|line| line.starts_with("warning: ")).collect();
    warnings.sort_unstable();
    let expected = [
        format!(
            "warning: @own/public: publishConfig names another registry, {DEFAULT_REGISTRY}; published to {registry} only"
        ),
        "warning: @own/public: publishConfig.provenance is skipped: a hosted CI alone can make it".to_owned(),
    ];
    assert_eq!(warnings, expected, "{said}");
    assert!(said.ends_with("\n1 package had warnings, said above.\nThe package is published.\n"), "{said}");
}
