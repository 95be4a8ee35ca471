use std::time::{Duration, Instant};

use packline_domain::{
    BuildResult, Outcome,
    message::{PhaseReport, PhaseStatus},
};
use packline_testkit::process::Process;

use crate::foreman::{Foreman, alive};

const CLAIM: Duration = Duration::from_secs(60);
/// Nobody listens there: what asks a registry fails at once.
const NOBODY: (&str, &str) = ("NPM_REGISTRY", "http://127.0.0.1:9");

/// A worker with this recipe, and a package `thing` that npm knows nothing of.
async fn place(recipe: &str) -> (Foreman, Process) {
    let foreman = Foreman::new(CLAIM).await;
    foreman.crate_of("thing", &[("here", "")]);
    let worker = foreman.worker("one", &[("RECIPE", &foreman.recipe(recipe)), NOBODY]);
    (foreman, worker)
}

/// A phase that runs a line by a shell, with these further lines.
fn phase(name: &str, line: &str, more: &str) -> String {
    format!("[[phase]]\nname = \"{name}\"\nrun = [\"sh\", \"-c\", '''{line}''']\n{more}\n")
}

fn statuses(phases: &[PhaseReport]) -> Vec<(&str, PhaseStatus)> {
    phases.iter().map(|phase| (phase.name.as_str(), phase.status)).collect()
}

fn ended(result: &BuildResult) -> (Outcome, bool, Option<&str>, Option<u32>) {
    (result.outcome, result.retry, result.failed_phase.as_deref(), result.fix_attempts)
}

#[tokio::test]
async fn a_recipe_file_replaces_the_phases() {
    let recipe = phase("one", "echo 1 > made", "") + &phase("two", "cat made && ls here", "");
    let (mut foreman, _worker) = place(&recipe).await;
    let result = foreman.build("thing").await;
    assert_eq!(ended(&result), (Outcome::Published, true, None, None), "{result:?}");
    assert_eq!(statuses(&result.phases), [("one", PhaseStatus::Passed), ("two", PhaseStatus::Passed)]);
    let missing = foreman.build("missing").await;
    assert_eq!(ended(&missing), (Outcome::Failed, false, None, None), "{missing:?}");
}

#[tokio::test]
async fn a_phase_is_skipped_where_its_script_or_file_is_not_there() {
    let recipe = [
        phase("makes", "echo 1 > made; ln -s / out", ""),
        phase("file", "true", "when = \"file:made\""),
        phase("no-file", "exit 1", "when = \"file:missing\""),
        phase("outside", "exit 1", "when = \"file:out/bin/sh\""),
        phase("script", "true", "when = \"script:test\""),
        phase("no-script", "exit 1", "when = \"script:lint\""),
    ]
    .concat();
    let (mut foreman, _worker) = place(&recipe).await;
    foreman.crate_of("scripted", &[("package.json", r#"{"scripts": {"test": "x"}}"#)]);
    let result = foreman.build("scripted").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    let skipped = |result: &BuildResult| -> Vec<String> {
        let skipped = result.phases.iter().filter(|phase| phase.status == PhaseStatus::Skipped);
        skipped.map(|phase| phase.name.clone()).collect()
    };
    assert_eq!(skipped(&result), ["no-file", "outside", "no-script"]);
    let log = foreman.log_until(&result.build_id, "no-script|").await;
    assert!(log.contains("no-file| skipped: the package has no missing"), "{log}");
    assert!(log.contains("no-script| skipped: package.json has no script lint"), "{log}");
    // Where there is no package.json there is no script either.
    assert_eq!(skipped(&foreman.build("thing").await), ["no-file", "outside", "script", "no-script"]);
}

#[tokio::test]
async fn a_category_with_phases_of_its_own_uses_these_instead() {
    let recipe = phase("code", "true", "") + &phase("docs", "true", "").replace("[[phase]]", "[[category.docs.phase]]");
    let (mut foreman, _worker) = place(&recipe).await;
    for (category, expected) in [("docs", "docs"), ("utils", "code"), ("unknown", "code")] {
        let mut order = foreman.grant(0, "thing").await;
        order.category = category.into();
        foreman.send(&order).await;
        let result = foreman.outcome(&order).await;
        assert_eq!(statuses(&result.phases), [(expected, PhaseStatus::Passed)], "{category}");
    }
}

#[tokio::test]
async fn a_phase_that_takes_too_long_is_killed_with_all_that_it_started() {
    let recipe = phase("slow", "trap '' TERM; (setsid sleep 1000 &); sleep 1001 & wait", "timeout = \"500ms\"");
    let (mut foreman, _worker) = place(&recipe).await;
    let order = foreman.order(0, "thing").await;
    let result = foreman.outcome(&order).await;
    assert_eq!(ended(&result), (Outcome::TimedOut, true, Some("slow"), None), "{result:?}");
    assert_eq!(statuses(&result.phases), [("slow", PhaseStatus::TimedOut)]);
    assert_eq!(result.error.as_deref(), Some("slow: took longer than 0.5 s"));
    assert_eq!(alive(&order), 0);
}

#[tokio::test]
async fn a_phase_that_prints_nothing_for_too_long_is_killed() {
    let talks = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.3; done";
    let recipe = phase("talks", talks, "silence = \"2s\"") + &phase("hangs", "sleep 1000", "silence = \"1s\"");
    let (mut foreman, _worker) = place(&recipe).await;
    let result = foreman.build("thing").await;
    assert_eq!(ended(&result), (Outcome::TimedOut, true, Some("hangs"), None), "{result:?}");
    assert_eq!(result.error.as_deref(), Some("hangs: printed nothing for 1 s"));
}

#[tokio::test]
async fn a_phase_that_prints_too_much_fails_permanently() {
    let limit = "output_limit = \"10kB\"\nfix = [\"true\"]";
    let enough = phase("enough", "head -c 10000 /dev/zero | tr '\\0' '\\n'", "output_limit = \"10kB\"");
    let recipe = format!("max_fix_attempts = 3\n{enough}{}", phase("loud", "yes", limit));
    let (mut foreman, _worker) = place(&recipe).await;
    let result = foreman.build("thing").await;
    assert_eq!(ended(&result), (Outcome::Failed, false, Some("loud"), None), "{result:?}");
    assert_eq!(result.error.as_deref(), Some("loud: printed more than 10000 bytes"));
}

#[tokio::test]
async fn status_75_is_the_machines_failure_and_78_is_for_ever_and_neither_is_fixed() {
    for (status, expected) in [
        (75, (Outcome::Infrastructure, true, Some("says"), None)),
        (78, (Outcome::Failed, false, Some("says"), None)),
        (1, (Outcome::Failed, true, Some("says"), Some(1))),
    ] {
        let recipe = format!("max_fix_attempts = 1\n{}", phase("says", &format!("exit {status}"), "fix = [\"true\"]"));
        let (mut foreman, _worker) = place(&recipe).await;
        let result = foreman.build("thing").await;
        assert_eq!(ended(&result), expected, "{status}: {result:?}");
        assert_eq!(result.phases.last().unwrap().exit_code, Some(status));
    }
}

#[tokio::test]
async fn a_phase_that_failed_is_fixed_and_run_again() {
    let fix = "env = { WORD = \"mended\" }\nfix = [\"sh\", \"-c\", 'echo $WORD in $PHASE > mended']";
    let recipe = format!("max_fix_attempts = 2\n{}", phase("test", "cat mended", fix));
    let (mut foreman, _worker) = place(&recipe).await;
    let result = foreman.build("thing").await;
    assert_eq!(ended(&result), (Outcome::Published, true, None, Some(1)), "{result:?}");
    assert_eq!(statuses(&result.phases), [("test", PhaseStatus::Passed)]);
    let log = foreman.log_until(&result.build_id, "test| mended in test").await;
    assert!(log.contains("test| ended with status 1: "), "{log}");
    assert!(log.contains("; fix 1 of 2: sh -c echo $WORD in $PHASE > mended\n"), "{log}");
    assert!(log.contains("test| fixed; running the phase again\n"), "{log}");
}

#[tokio::test]
async fn fixes_are_counted_over_all_phases_of_a_build() {
    // The first needs two fixes, the second one more than is left.
    let count = "echo x >> $PHASE; test $(wc -l < $PHASE) -gt";
    let recipe = format!(
        "max_fix_attempts = 3\n{}{}",
        phase("first", &format!("{count} 2"), "fix = [\"true\"]"),
        phase("second", &format!("{count} 2 || { }", "{ echo no; exit 4; }"), "fix = [\"sh\", \"-c\", \"exit 9\"]"),
    );
    let (mut foreman, _worker) = place(&recipe).await;
    let result = foreman.build("thing").await;
    assert_eq!(ended(&result), (Outcome::Failed, true, Some("second"), Some(3)), "{result:?}");
    assert_eq!(statuses(&result.phases), [("first", PhaseStatus::Passed), ("second", PhaseStatus::Failed)]);
    assert!(result.error.as_deref().unwrap().starts_with("second: ended with status 4: no"), "{result:?}");
    let log = foreman.log_until(&result.build_id, "not fixed: a build may try that 3 times").await;
    // A fix that fails may have done enough all the same: the phase decides.
    assert!(log.contains("second| the fix ended with status 9; running the phase again"), "{log}");
    assert!(log.contains("first| ended with status 1; fix 2 of 3: true"), "{log}");
}

#[tokio::test]
async fn a_fix_has_the_limits_of_its_phase() {
    for (fix, expected, said) in [
        ("sleep 1000", (Outcome::TimedOut, true, Some("test"), Some(1)), "test: its fix took longer than 2 s"),
        ("exit 78", (Outcome::Failed, false, Some("test"), Some(1)), "test: its fix said that it will never pass"),
        ("yes", (Outcome::Failed, false, Some("test"), Some(1)), "test: its fix printed more than 1000 bytes"),
    ] {
        let more = format!("timeout = \"2s\"\noutput_limit = \"1kB\"\nfix = [\"sh\", \"-c\", \"{fix}\"]");
        let recipe = format!("max_fix_attempts = 5\n{}", phase("test", "exit 1", &more));
        let (mut foreman, _worker) = place(&recipe).await;
        let result = foreman.build("thing").await;
        assert_eq!(ended(&result), expected, "{fix}: {result:?}");
        assert!(result.error.as_deref().unwrap().starts_with(said), "{result:?}");
    }
}

#[tokio::test]
async fn without_max_fix_attempts_nothing_is_fixed() {
    let (mut foreman, worker) = place(&phase("test", "exit 1", "fix = [\"true\"]")).await;
    let result = foreman.build("thing").await;
    assert_eq!(ended(&result), (Outcome::Failed, true, Some("test"), None), "{result:?}");
    assert!(worker.printed().contains("the fix of phase test never runs; max_fix_attempts is 0"));
}

#[tokio::test]
async fn a_build_can_be_withdrawn_in_the_middle_of_a_fix() {
    let (foreman, _worker) =
        &mut place(&format!("max_fix_attempts = 9\n{}", phase("test", "exit 1", "fix = [\"sleep\", \"1000\"]"))).await;
    let order = foreman.order(0, "thing").await;
    foreman.log_until(&order.build_id, "fix 1 of 9").await;
    foreman.withdraw(0).await;
    let began = Instant::now();
    let result = foreman.outcome(&order).await;
    assert_eq!((result.outcome, result.fix_attempts), (Outcome::Cancelled, Some(1)), "{result:?}");
    assert_eq!(alive(&order), 0);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn env_is_added_to_the_environment_of_its_phase_alone() {
    let recipe = phase("with", "env", "env = { GREETING = \"good day\", LANG = \"C\" }")
        + &phase("without", "env; echo end", "");
    let foreman = &mut Foreman::new(CLAIM).await;
    foreman.crate_of("thing", &[("here", "")]);
    let token = ("NPM_TOKEN", "s3cret-token-of-the-worker");
    let recipe = foreman.recipe(&recipe);
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), NOBODY, token, ("SECRET", "x")]);
    let result = foreman.build("thing").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    let log = foreman.log_until(&result.build_id, "without| end").await;
    for expected in
        ["with| GREETING=good day", "with| LANG=C\n", "with| PHASE=with", "with| PACKAGE_PATH=packages/thing"]
    {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    for unexpected in ["without| GREETING", "without| LANG=C\n", "NPM_TOKEN", "SECRET", "NATS", "CARGO_HOME", "***"] {
        assert!(!log.contains(unexpected), "{unexpected} in {log}");
    }
}

#[tokio::test]
async fn the_rules_of_package_json_hold_where_there_is_one() {
    let (mut foreman, _worker) = place(&phase("a", "true", "")).await;
    foreman.crate_of("nameless", &[("package.json", "{}")]);
    foreman.crate_of("renamed", &[("package.json", r#"{"name": "other"}"#)]);
    foreman.crate_of("broken", &[("package.json", "{")]);
    foreman.crate_of(
        "foreign",
        &[("package.json", r#"{"name": "foreign", "publishConfig": {"registry": "https://elsewhere.example"}}"#)],
    );
    let pnpm =
        r#"{"name": "bundled", "version": "2.0.0", "private": true, "publishConfig": {"main": "dist/index.js"}}"#;
    foreman.crate_of("bundled", &[("package.json", pnpm)]);
    for (name, outcome, retry, said) in [
        ("thing", Outcome::Published, true, ""),
        ("nameless", Outcome::Published, true, ""),
        ("bundled", Outcome::Published, true, ""),
        ("renamed", Outcome::Failed, false, "package.json is that of `other`, not of renamed"),
        ("broken", Outcome::Failed, false, "package.json is not understood"),
        ("foreign", Outcome::Failed, false, "publishConfig names another registry"),
    ] {
        let result = foreman.build(name).await;
        assert_eq!((result.outcome, result.retry), (outcome, retry), "{name}: {result:?}");
        assert_eq!(result.private, name == "bundled", "{name}: {result:?}");
        assert!(result.error.unwrap_or_default().starts_with(said), "{name}");
        assert_eq!(result.version.as_deref(), (name == "bundled").then_some("2.0.0"));
    }
}

#[tokio::test]
async fn what_a_command_of_ones_own_may_have_published_is_not_said_to_be_private() {
    let (mut foreman, _worker) = place(&(phase("a", "true", "") + &phase("publish", "true", ""))).await;
    foreman.crate_of("own", &[("package.json", r#"{"name": "own", "private": true}"#)]);
    let result = foreman.build("own").await;
    assert_eq!((result.outcome, result.private), (Outcome::Published, false), "{result:?}");
}

#[tokio::test]
async fn a_recipe_without_npm_needs_none() {
    let mut foreman = Foreman::new(CLAIM).await;
    foreman.crate_of("thing", &[("here", "")]);
    let programs = foreman.folder().join("few");
    std::fs::create_dir(&programs).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in ["sh", "setpriv"] {
        let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
        if let Some(found) = found {
            std::os::unix::fs::symlink(found, programs.join(program)).unwrap();
        }
    }
    let recipe = foreman.recipe(&phase("a", "echo \"registry: $NPM_REGISTRY.\"", ""));
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("PATH", &programs.display().to_string())]);
    let result = foreman.build("thing").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    foreman.log_until(&result.build_id, "a| registry: .").await;
}

#[tokio::test]
async fn a_recipe_that_is_wrong_stops_the_worker_with_all_its_errors() {
    let foreman = Foreman::new(CLAIM).await;
    for (text, said) in [
        ("[[phase]]\nname = \"a\"\nrun = \"npm test\"\n", vec![":3:7: run is text; it is an array"]),
        (
            "[[phase]]\nname = \"a\"\nrun = []\nenvs = 1\n",
            vec![":3:7: run is empty", ":4:1: unknown key `envs`", "recipe.toml has 2 errors"],
        ),
    ] {
        let worker = foreman.worker(&format!("{}", said.len()), &[("RECIPE", &foreman.recipe(text))]);
        let ended = tokio::time::timeout(Duration::from_secs(60), worker.exited()).await.unwrap();
        assert_eq!(ended.code(), Some(2));
        for said in said {
            assert!(worker.printed().contains(said), "{said} in {}", worker.printed());
        }
    }
}
