//! What right recipes mean.

use std::{collections::BTreeMap, time::Duration};

use packline_recipe::{
    Limits, LintFailure, Phase, Recipe, RootBuild, RootTest, Step, When, WorkspaceMode, WorkspaceOptions,
};

/// The example of the contract with its users, and of this crate's first page.
const EXAMPLE: &str = r#"
max_fix_attempts = 1
[[phase]]
name = "test"
run = ["npm", "test"]
when = "script:test"
timeout = "10m"
silence = "5m"
output_limit = "64MB"
fix = ["./fix.sh"]
env = { NODE_ENV = "test" }
[[phase]]
name = "publish"
builtin = "publish"
[[category.docs.phase]]
name = "build"
run = ["mdbook", "build"]
[workspace]
mode = "isolated"
root_build = "always"
root_build_script = "compile"
root_test = "gate"
lint = "fail"
"#;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The only phase of a recipe that has these lines in it.
fn phase(lines: &str) -> Phase {
    let recipe = Recipe::parse(&format!("[[phase]]\nname = \"a\"\nrun = [\"a\"]\n{lines}\n")).unwrap();
    recipe.phases.unwrap().remove(0)
}

#[test]
fn every_key_is_read() {
    let recipe = Recipe::parse(EXAMPLE).unwrap();
    assert_eq!(recipe.max_fix_attempts, 1);
    let [test, publish] = recipe.phases("unknown").unwrap() else { panic!() };
    assert_eq!(
        *test,
        Phase {
            name: "test".into(),
            step: Step::Run(words(&["npm", "test"])),
            when: Some(When::Script("test".into())),
            limits: Limits {
                timeout: Duration::from_secs(600),
                silence: Some(Duration::from_secs(300)),
                output: 64_000_000
            },
            fix: Some(words(&["./fix.sh"])),
            env: BTreeMap::from([("NODE_ENV".into(), "test".into())]),
        }
    );
    assert_eq!((publish.name.as_str(), &publish.step), ("publish", &Step::Publish));
    let [build] = recipe.phases("docs").unwrap() else { panic!() };
    assert_eq!(build.step, Step::Run(words(&["mdbook", "build"])));
    assert_eq!(
        recipe.workspace,
        WorkspaceOptions {
            mode: WorkspaceMode::Isolated,
            root_build: RootBuild::Always,
            root_build_script: Some("compile".into()),
            root_test: RootTest::Gate,
            lint: LintFailure::Fail,
        }
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let recipe = Recipe::parse("[[phase]]\nname = \"a\"\nrun = [\"a\"]\n").unwrap();
    assert_eq!((recipe.max_fix_attempts, &recipe.workspace), (0, &WorkspaceOptions::default()));
    let [a] = recipe.phases("unknown").unwrap() else { panic!() };
    assert_eq!((&a.when, &a.fix, a.env.len()), (&None, &None, 0));
    // The limits that are written in the example.
    assert_eq!(a.limits, Limits { silence: None, ..phase("timeout = \"10m\"\noutput_limit = \"64MB\"").limits });
}

#[test]
fn a_file_of_categories_alone_leaves_the_built_in_phases_to_all_others() {
    let recipe = Recipe::parse("[[category.docs.phase]]\nname = \"a\"\nrun = [\"a\"]\n").unwrap();
    assert_eq!(recipe.phases("docs").map(<[Phase]>::len), Some(1));
    assert_eq!(recipe.phases("unknown"), None);
}

#[test]
fn a_file_of_workspace_options_alone_leaves_the_built_in_phases_to_all() {
    let first = "mode = 'workspace'\nroot_build = 'auto'\nroot_test = 'report'\nlint = 'warn'\n";
    for options in ["", first] {
        let recipe = Recipe::parse(&format!("[workspace]\n{options}")).unwrap();
        assert_eq!(recipe.phases("unknown"), None);
        assert_eq!(recipe.workspace, WorkspaceOptions::default(), "the first values are the defaults");
    }
    let never = Recipe::parse("[workspace]\nroot_build = 'never'\n").unwrap().workspace;
    assert_eq!(never, WorkspaceOptions { root_build: RootBuild::Never, ..WorkspaceOptions::default() });
}

#[test]
fn phases_of_the_built_in_recipe_are_named_and_have_limits_conditions_and_fixes_as_others() {
    let step = |builtin: &str| {
        let text = format!("[[phase]]\nname = \"a\"\nbuiltin = \"{builtin}\"\nwhen = \"file:b\"\ntimeout = \"1s\"\n");
        let phase = Recipe::parse(&text).unwrap().phases.unwrap().remove(0);
        assert_eq!(phase.when, Some(When::File("b".into())));
        assert_eq!(phase.limits.timeout, Duration::from_secs(1));
        phase.step
    };
    let steps = ["install", "prepare", "publish", "npm-publish"].map(step);
    assert_eq!(steps, [Step::Install, Step::Prepare, Step::Publish, Step::Publish]);
    for builtin in ["install", "prepare", "publish", "npm-publish"] {
        let text = format!("[[category.a.phase]]\nname = \"a\"\nbuiltin = \"{builtin}\"\nfix = [\"b\"]\n");
        let recipe = Recipe::parse(&text).unwrap();
        assert_eq!(recipe.phases("a").unwrap()[0].fix, Some(words(&["b"])), "{builtin}");
    }
}

#[test]
fn sizes_and_durations_are_read_as_people_write_them() {
    for (text, bytes) in [
        ("64MB", 64_000_000),
        ("64MiB", 64 << 20),
        ("500 KiB", 500 << 10),
        ("1kb", 1000),
        ("1.5GiB", 3 << 29),
        ("2G", 2_000_000_000),
        ("100B", 100),
        ("100", 100),
    ] {
        assert_eq!(phase(&format!("output_limit = \"{text}\"")).limits.output, bytes, "{text}");
    }
    for (text, millis) in [("10m", 600_000), ("500ms", 500), ("1h 30m", 5_400_000), ("2days", 172_800_000)] {
        let limits = phase(&format!("timeout = \"{text}\"\nsilence = \"{text}\"")).limits;
        assert_eq!(limits.timeout, Duration::from_millis(millis), "{text}");
        assert_eq!(limits.silence, Some(Duration::from_millis(millis)), "{text}");
    }
}

#[test]
fn conditions_are_read() {
    assert_eq!(phase("when = \"script:test:unit\"").when, Some(When::Script("test:unit".into())));
    for file in ["Cargo.toml", "./a", "src/a b.rs", "..a", "a..b/c"] {
        assert_eq!(phase(&format!("when = \"file:{file}\"")).when, Some(When::File(file.into())), "{file}");
    }
}

#[test]
fn other_ways_to_write_the_same_toml_are_taken() {
    let inline = Recipe::parse("phase = [{ name = 'a', run = ['a', ''], env.A = 'b' }]\n").unwrap();
    let tables = Recipe::parse(
        "[[phase]]\r\nname = \"a\"\r\nrun = [\r\n  \"a\", # the program\r\n  \"\",\r\n]\r\n[phase.env]\r\nA = \"b\"\r\n",
    );
    assert_eq!(Ok(inline), tables);
}

#[test]
fn a_root_build_without_a_phase_to_run_before_is_warned_of() {
    let of = |name: &str| {
        let text = format!("[workspace]\nroot_build = \"always\"\n[[phase]]\nname = \"{name}\"\nrun = [\"a\"]\n");
        Recipe::parse(&text).unwrap().warnings()
    };
    assert_eq!(of("publish"), ["root_build is \"always\" and runs before the phase build, which is not everywhere"]);
    assert_eq!(of("build"), Vec::<String>::new());
}

#[test]
fn a_fix_that_never_runs_is_warned_of() {
    let with = |attempts: u32| {
        let text = format!("max_fix_attempts = {attempts}\n[[phase]]\nname = \"a\"\nrun = [\"a\"]\nfix = [\"b\"]\n");
        Recipe::parse(&text).unwrap().warnings()
    };
    assert_eq!(with(0), ["the fix of phase a never runs; max_fix_attempts is 0"]);
    assert_eq!(with(1), Vec::<String>::new());
}
