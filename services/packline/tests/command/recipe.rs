//! `packline recipe check`, and the recipes that stand in the documentation.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn check(file: &Path) -> Output {
    let mut packline = Command::new(env!("CARGO_BIN_EXE_packline"));
    packline.args(["recipe", "check"]).arg(file).env_remove("RUST_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A recipe in a folder of its own.
fn recipe(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.toml");
    fs::write(&file, text).unwrap();
    (folder, file)
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_exit_status_1() {
    let (_folder, file) = recipe("[[phase]]\nname = \"a\"\nrun = \"npm test\"\n  envs = {}\n");
    let checked = check(&file);
    let shown = file.display();
    let said = text(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let run = "run is text; it is an array of a program and its arguments, [\"npm\", \"test\"]";
    let keys = "a phase has name, run or builtin, when, timeout, silence, output_limit, fix and env";
    assert_eq!(lines[0], format!("{shown}:3:7: {run}"));
    assert_eq!(lines[1], format!("{shown}:4:3: unknown key `envs`; {keys}"));
    assert!(lines.len() == 3 && lines[2].ends_with("2 errors in the recipe"), "{said}");
    assert_eq!(text(&checked.stdout), "");
}

#[test]
fn a_file_that_cannot_be_read_is_one_line_and_exit_status_2() {
    let checked = check(Path::new("/no/such/recipe.toml"));
    let said = text(&checked.stderr);
    assert_eq!((checked.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("/no/such/recipe.toml cannot be read as a recipe: No such file"), "{said}");
}

#[test]
fn a_recipe_that_is_right_is_shown_as_a_table() {
    let (_folder, file) = recipe(
        "[[phase]]\nname = \"test\"\nrun = [\"npm\", \"run\", \"a b\"]\nwhen = \"script:test\"\nsilence = \"5m\"\n\
         output_limit = \"1GiB\"\nfix = [\"./fix.sh\"]\nenv = { SECRET = \"s3cret\" }\n[[phase]]\nname = \"publish\"\n\
         builtin = \"npm-publish\"\n[[category.docs.phase]]\nname = \"build\"\nrun = [\"mdbook\", \"build\"]\n",
    );
    let checked = check(&file);
    let (shown, said) = (text(&checked.stdout), text(&checked.stderr));
    assert_eq!(checked.status.code(), Some(0), "{said}");
    for expected in ["(all others)", "docs", "mdbook build", "publish (built", "64.0 MB", "SECRET", "./fix.sh"] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    assert!(shown.ends_with("In a build nothing is fixed.\n"), "{shown}");
    assert!(!shown.contains("s3cret"));
    assert!(said.ends_with("warning: the fix of phase test never runs; max_fix_attempts is 0\n"), "{said}");
    let (_folder, file) = recipe("max_fix_attempts = 2\n[[category.docs.phase]]\nname = \"a\"\nrun = [\"a\"]\n");
    let shown = text(&check(&file).stdout);
    assert!(shown.contains("built in for npm") && shown.contains("In a build up to 2 fixes."), "{shown}");
    assert!(
        shown.contains("\nIn a workspace: mode workspace, root_build auto, root_test report, lint warn.\n"),
        "{shown}"
    );
}

#[test]
fn the_options_of_a_workspace_are_shown_and_what_is_without_effect_is_warned_of() {
    let checked = |options: &str| {
        let (_folder, file) = recipe(&format!("[workspace]\n{options}\n"));
        let checked = check(&file);
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
        (text(&checked.stdout), text(&checked.stderr))
    };
    let (shown, said) = checked("root_build_script = \"compile\"\nroot_test = \"gate\"\nlint = \"fail\"");
    let options = "mode workspace, root_build auto, root_build_script compile, root_test gate, lint fail";
    assert!(shown.contains(&format!("\nIn a workspace: {options}.\n")) && shown.contains("typecheck"), "{shown}");
    assert_eq!(said, "");
    let (shown, said) = checked("mode = \"isolated\"\nlint = \"fail\"");
    assert!(shown.contains("mode isolated") && !shown.contains("typecheck"), "{shown}");
    assert!(said.ends_with("warning: [workspace] has options without effect; mode is \"isolated\"\n"), "{said}");
    let (_, said) = checked("root_build = \"never\"\nroot_build_script = \"compile\"");
    assert!(said.ends_with("warning: root_build_script never runs; root_build is \"never\"\n"), "{said}");
    let (_folder, file) = recipe("[workspace]\nlint = \"off\"\n");
    let checked = check(&file);
    assert_eq!(checked.status.code(), Some(1));
    let problem = ":2:8: `off` is not known; lint is \"warn\" or \"fail\"";
    assert!(text(&checked.stderr).contains(problem), "{}", text(&checked.stderr));
}

#[test]
fn the_recipes_of_the_documentation_are_right() {
    for page in ["README.md", "docs/reference/builder.md"] {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page)).unwrap();
        let recipes: Vec<&str> =
            page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(!recipes.is_empty());
        for text_of_recipe in recipes {
            let (_folder, file) = recipe(text_of_recipe);
            let checked = check(&file);
            assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
        }
    }
}
