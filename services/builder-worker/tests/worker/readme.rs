use std::{fs, path::Path, time::Duration};

use packline_domain::{
    Outcome,
    message::{PhaseReport, PhaseStatus},
};

use crate::foreman::Foreman;

/// The recipe for cargo crates, as it stands in README.md.
fn recipe() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let (_, recipe) = readme.split_once("```toml\n").unwrap();
    let (recipe, _) = recipe.split_once("```").unwrap();
    assert!(recipe.contains("\"cargo\""), "{recipe}");
    recipe.to_owned()
}

fn add(foreman: &Foreman, name: &str, expected: &str) {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\ndescription = \"Says.\"\n"
    );
    let code = format!(
        "//! Says.\n/// Says hello.\npub fn hello() -> &'static str {{\n    \"hello\"\n}}\n\
         #[test]\nfn says_hello() {{\n    assert_eq!(hello(), \"{expected}\");\n}}\n"
    );
    foreman.crate_of(name, &[("Cargo.toml", &manifest), ("src/lib.rs", &code)]);
}

#[tokio::test]
async fn the_recipe_of_the_readme_builds_cargo_crates_without_a_network() {
    use PhaseStatus::{Failed, Passed, Skipped};
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    add(&foreman, "right", "hello");
    add(&foreman, "wrong", "good day");
    fs::write(foreman.workspace().join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"packages/*\"]\n")
        .unwrap();
    // No crate registry is to be asked, and no proxy leads to one.
    let nowhere = "http://127.0.0.1:9";
    let settings = [("NPM_REGISTRY", nowhere), ("HTTPS_PROXY", nowhere), ("https_proxy", nowhere)];
    let recipe = foreman.recipe(&recipe());
    let settings: Vec<_> = settings.into_iter().chain([("RECIPE", recipe.as_str())]).collect();
    let _worker = foreman.worker("one", &settings);
    let statuses = |phases: &[PhaseReport]| -> Vec<(String, PhaseStatus)> {
        phases.iter().map(|phase| (phase.name.clone(), phase.status)).collect()
    };
    let named = |name: &str, status| (name.to_owned(), status);
    let right = foreman.build("right").await;
    assert_eq!(right.outcome, Outcome::Published, "{right:?}");
    let expected = [named("build", Passed), named("test", Passed), named("format", Skipped), named("package", Passed)];
    assert_eq!(statuses(&right.phases), expected);
    let wrong = foreman.build("wrong").await;
    assert_eq!((wrong.outcome, wrong.failed_phase.as_deref()), (Outcome::Failed, Some("test")), "{wrong:?}");
    assert_eq!(statuses(&wrong.phases), [named("build", Passed), named("test", Failed)]);
    let log = foreman.log_until(&wrong.build_id, "test result: FAILED").await;
    assert!(log.contains("test says_hello ... FAILED"), "{log}");
    assert!(!foreman.workspace().join("target").exists(), "the source is untouched");
}
