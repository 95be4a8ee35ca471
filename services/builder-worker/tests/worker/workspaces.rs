//! Workspace mode: each small workspace of the testkit, built as its own tools would.

use std::{process::Command, time::Duration};

use packline_domain::{
    BuildResult,
    Outcome::{Failed, Published},
    phase::{CACHED, Tests},
};
use packline_testkit::{
    process::{Process, command},
    stand_in::StandIn,
    tools,
    workspaces::{self, Case, Made, Member, Outcome},
};

use crate::{foreman::Foreman, seat};

/// One workspace, its registry and a worker.
pub(crate) struct Bench {
    pub(crate) foreman: Foreman,
    pub(crate) registry: StandIn,
    pub(crate) worker: Process,
}

impl Bench {
    pub(crate) async fn start(case: &Case) -> Self {
        Self::by(case, None, command(env!("CARGO_BIN_EXE_builder-worker"))).await
    }

    /// Where no overlay works.
    pub(crate) async fn without_overlays(case: &Case) -> Self {
        Self::by(case, None, seat::without_overlays()).await
    }

    /// Where builds follow this recipe.
    async fn by_recipe(case: &Case, recipe: &str) -> Self {
        Self::by(case, Some(recipe), command(env!("CARGO_BIN_EXE_builder-worker"))).await
    }

    /// With a worker that this command becomes, and builds that follow this recipe.
    async fn by(case: &Case, recipe: Option<&str>, worker: Command) -> Self {
        Self::at(case, recipe, worker, &[]).await
    }

    /// Where builds find no registry, although Node and package managers can be had.
    pub(crate) async fn without_registry(case: &Case) -> Self {
        Self::with(case, &[("NPM_REGISTRY", "http://127.0.0.1:9")]).await
    }

    /// With these settings of the worker beside those that all have.
    pub(crate) async fn with(case: &Case, settings: &[(&str, &str)]) -> Self {
        Self::at(case, None, command(env!("CARGO_BIN_EXE_builder-worker")), settings).await
    }

    async fn at(case: &Case, recipe: Option<&str>, worker: Command, settings: &[(&str, &str)]) -> Self {
        let (foreman, registry) = (Foreman::new(Duration::from_secs(60)).await, StandIn::start().await);
        case.write(&foreman.workspace()).unwrap();
        case.release(&registry.url()).await.unwrap();
        let url = registry.url();
        let recipe = recipe.map_or_else(|| "npm".to_owned(), |text| foreman.recipe(text));
        let path = tools::npm11().await.unwrap().path();
        let path = path.to_str().unwrap();
        let of_all = [
            ("NPM_REGISTRY", url.as_str()),
            ("NPM_TOKEN", "t"),
            ("RECIPE", &recipe),
            ("PATH", path),
            // Where Node and managers come from.
            ("npm_config_registry", &url),
        ];
        let worker = foreman.worker_by(worker, "worker", &[&of_all, settings].concat());
        Self { foreman, registry, worker }
    }

    pub(crate) async fn build(&mut self, member: &Member) -> BuildResult {
        let mut order = self.foreman.grant(0, member.name()).await;
        order.package_path = member.path.parse().unwrap();
        self.foreman.send(&order).await;
        self.foreman.outcome(&order).await
    }

    /// Builds a member; answers what is wrong with what comes of it.
    pub(crate) async fn problem(&mut self, member: &Member) -> Option<String> {
        if member.outcome == Outcome::Left {
            return None;
        }
        let result = self.build(member).await;
        let made = match result.failed_phase {
            Some(phase) => Made::Failed(phase, result.error.unwrap_or_default()),
            None if result.private => Made::Built,
            None => match self.registry.tarball(member.name(), member.version()) {
                Some(tarball) => Made::packed(&tarball).unwrap(),
                None => Made::Failed(String::new(), format!("{:?}: {:?}", result.outcome, result.error)),
            },
        };
        member.problem(&made)
    }
}

/// Builds the members of these workspaces in their order, by a worker that is started so, and fails with all that is wrong.
pub(crate) async fn build(names: &[&str], start: impl AsyncFn(&Case) -> Bench) {
    let mut wrong = Vec::new();
    for name in names {
        let case = workspaces::case(name);
        let mut bench = start(&case).await;
        for member in &case.members {
            if let Some(what) = bench.problem(member).await {
                wrong.push(format!("{name}, {}: {what}", case.cause));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The workspaces that a test builds.
macro_rules! cases {
    ($(fn $test:ident() { $($name:literal),+ })+) => {
        const BUILT: &[&[&str]] = &[$(&[$($name),+]),+];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $crate::workspaces::build(&[$($name),+], $crate::workspaces::Bench::start).await;
            }
        )+
    };
}
pub(crate) use cases;

cases! {
    fn what_stands_at_the_root_alone() { "root-tool", "root-config", "dot-folder", "git", "old-output", "fixture-modules", "fixture-modules-git", "secrets" }
    fn what_the_root_builds() { "root-build", "root-build-named", "root-types", "references", "writes-beside" }
    fn what_tests_say() { "stub-test", "failing-test", "failing-lint", "root-test", "dev-cycle", "peer-cycle", "nameless" }
    fn siblings() { "private-sibling", "private-built", "optional-fails", "sibling-program", "builds-itself" }
    fn other_versions_of_siblings() { "alias", "older-sibling", "file-sibling", "unfit-sibling", "hidden-edge" }
    fn what_an_install_does() { "locked", "overrides", "ignored-scripts", "dependency-script", "own-script" }
    fn what_scripts_of_an_install_do() { "root-prepare", "root-script-fails", "example-script-fails" }
    fn where_members_are() { "folder-name", "nested", "object", "hidden-member", "inner-link", "single", "lerna", "lerna-sibling" }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_the_root_go_before_what_is_published_where_a_recipe_says_so() {
    let case = workspaces::case("root-test");
    let [member] = case.members.as_slice() else { panic!("one member") };
    let mut bench = Bench::by_recipe(&case, "[workspace]\nroot_test = \"gate\"\n").await;
    let failed = bench.build(member).await;
    assert_eq!((failed.outcome, failed.retry, failed.tests), (Failed, false, Some(Tests::RootFailed)), "{failed:?}");
    let error = failed.error.unwrap_or_default();
    assert!(error.starts_with("test: the tests of the root failed: ended with status 1"), "{error}");
    assert!(bench.registry.tarball(member.name(), member.version()).is_none());
    let manifest = bench.foreman.workspace().join("package.json");
    let root = std::fs::read_to_string(&manifest).unwrap().replace("exit 1", "exit 0");
    std::fs::write(&manifest, root).unwrap();
    let passed = bench.build(member).await;
    assert_eq!((passed.outcome, passed.tests), (Published, Some(Tests::RootPassed)), "{passed:?}");
    let again = bench.build(member).await;
    let reason = again.phases.iter().find(|phase| phase.name == "test").and_then(|phase| phase.reason.as_deref());
    assert_eq!((again.outcome, reason, again.tests), (Published, Some(CACHED), Some(Tests::RootPassed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_the_root_do_not_have_the_token_of_the_phase_that_they_go_before() {
    let case = workspaces::case("root-test");
    let [member] = case.members.as_slice() else { panic!("one member") };
    let recipe = r#"
        workspace = { root_test = "gate" }
        phase = [
            { name = "install", builtin = "install" },
            { name = "publish", run = ["sh", "-c", 'test -n "$NPM_TOKEN" && grep _authToken "$npm_config_userconfig"'] },
        ]
    "#;
    let mut bench = Bench::by_recipe(&case, recipe).await;
    let failed = bench.build(member).await;
    assert_eq!((failed.outcome, failed.failed_phase.as_deref()), (Failed, Some("publish")), "they run: {failed:?}");
    let manifest = bench.foreman.workspace().join("package.json");
    let script = r#"test -z \"$NPM_TOKEN\" && ! grep _authToken \"$npm_config_userconfig\""#;
    let root = std::fs::read_to_string(&manifest).unwrap().replace("exit 1", script);
    std::fs::write(&manifest, root).unwrap();
    let result = bench.build(member).await;
    assert_eq!(result.outcome, Published, "{result:?}");
}

#[test]
fn every_workspace_of_the_testkit_is_built() {
    // What comes from which registry is the matter of that of `up`: `services/packline/tests/command/uplink.rs`.
    const ELSEWHERE: &[&str] = &["same-version"];
    let built = BUILT.iter().copied().flatten();
    let mut built: Vec<&str> = built.chain(ELSEWHERE).copied().collect();
    built.sort_unstable();
    let mut all: Vec<&str> = workspaces::all().iter().map(|case| case.name).collect();
    all.sort_unstable();
    assert_eq!(built, all);
}
