//! What is wrong in a recipe is said with its place, and all of it at once.

use packline_recipe::{OWN_VARIABLES, Recipe, RecipeError};
use proptest::prelude::*;

/// With every key, in ASCII.
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
[[category.docs.phase]]
name = "build"
builtin = "npm-publish"
[workspace]
mode = "isolated"
root_build = "always"
root_build_script = "compile"
root_test = "gate"
lint = "fail"
"#;

fn problems(text: &str) -> Vec<String> {
    Recipe::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

/// What is said of a phase that is right but for these lines, which begin at line 4.
fn in_phase(lines: &str) -> Vec<String> {
    problems(&format!("[[phase]]\nname = \"test\"\nrun = [\"true\"]\n{lines}\n"))
}

/// What is said of a phase with this in the place of its command.
fn as_command(line: &str) -> Vec<String> {
    problems(&format!("[[phase]]\nname = \"test\"\n{line}\n"))
}

#[test]
fn unknown_keys_are_refused_with_their_place() {
    assert_eq!(
        problems("max_fixes = 1\n[[phases]]\nname = \"a\"\n[[phase]]\nname = \"a\"\nrun = [\"a\"]\n  Run = [\"b\"]\n"),
        [
            "1:1: unknown key `max_fixes`; a recipe has max_fix_attempts, [workspace], [[phase]] and [[category.NAME.phase]]",
            "2:3: unknown key `phases`; a recipe has max_fix_attempts, [workspace], [[phase]] and [[category.NAME.phase]]",
            "7:3: unknown key `Run`; a phase has name, run or builtin, when, timeout, silence, output_limit, fix and env",
        ]
    );
    assert_eq!(
        problems(
            "[category.docs]\nmax_fix_attempts = 2\n[[category.docs.phase]]\nname = \"a\"\nrun = [\"a\"]\ntimeouts = \"1s\"\n"
        ),
        [
            "2:1: unknown key `max_fix_attempts`; a category has [[category.docs.phase]] alone",
            "6:1: unknown key `timeouts`; a phase has name, run or builtin, when, timeout, silence, output_limit, fix and env",
        ]
    );
}

#[test]
fn a_recipe_without_phases_is_refused() {
    let none =
        "1:1: a recipe without phases; write [[phase]], [[category.NAME.phase]] for some packages, or [workspace]";
    for text in ["", "# nothing\n", "max_fix_attempts = 3\n"] {
        assert_eq!(problems(text), [none], "{text}");
    }
    for (text, said) in [
        ("phase = []", "1:9: no phases; write [[phase]]"),
        ("[phase]\nname = \"a\"", "1:1: phase is a table; it is an array of tables, write [[phase]]"),
        ("phase = [1]", "1:10: a phase is a number; it is a table, write [[phase]]"),
        ("phase = \"a\"", "1:9: phase is text; it is an array of tables, write [[phase]]"),
        ("category = 1", "1:12: category is a number; write [[category.NAME.phase]]"),
        ("[category]", "1:1: category names none; write [[category.NAME.phase]]"),
        ("[category.docs]", "1:11: a category without phases; write [[category.docs.phase]]"),
        ("[category]\n\"a b\" = true", "2:9: a category is true or false; write [[category.\"a b\".phase]]"),
        ("[[category.docs]]\nname = \"a\"", "1:1: a category is an array; write [[category.docs.phase]]"),
        ("[category.docs.phase]", "1:1: phase is a table; it is an array of tables, write [[category.docs.phase]]"),
    ] {
        assert_eq!(problems(text).first().map(String::as_str), Some(said), "{text}");
    }
}

#[test]
fn a_phase_has_a_name_and_one_command() {
    let name = "3:1: a phase without a name; write name = \"build\"";
    let command = "3:1: a phase without a command; write run = [\"npm\", \"test\"]";
    assert_eq!(problems("# of ours\n\n[[phase]]\n"), [command, name]);
    assert_eq!(in_phase("builtin = \"npm-publish\""), ["4:1: both run and builtin; a phase has one of them"]);
    assert_eq!(
        as_command("builtin = \"npm\""),
        ["3:11: `npm` is not built in; \"install\", \"prepare\" and \"publish\" are"]
    );
    assert_eq!(
        as_command("builtin = 1"),
        ["3:11: builtin is a number; it is text, \"install\", \"prepare\" or \"publish\""]
    );
}

#[test]
fn a_command_is_an_array_of_a_program_and_its_arguments() {
    for (line, said) in [
        ("run = \"npm test\"", "3:7: run is text; it is an array of a program and its arguments, [\"npm\", \"test\"]"),
        (
            "run = 'node -e \"1 2\"'",
            "3:7: run is text; it is an array of a program and its arguments, [\"node\", \"-e\", \"1 2\"]",
        ),
        (
            "run = \"make && make check\"",
            "3:7: run is text; it is an array of a program and its arguments, [\"sh\", \"-c\", \"make && make check\"]",
        ),
        ("run = 5", "3:7: run is a number; it is an array of a program and its arguments, [\"npm\", \"test\"]"),
        ("run = []", "3:7: run is empty; its first item is the program, [\"npm\", \"test\"]"),
        ("run = [\"\", \"a\"]", "3:8: run names no program; its first item is the program, \"npm\""),
        ("run = [\"sleep\", 5]", "3:17: an argument of run is a number; it is text, in quotes"),
        ("run = [true]", "3:8: the program of run is true or false; it is text, in quotes"),
        ("run = [[\"npm\"]]", "3:8: the program of run is an array; it is text"),
        (
            "run = [\"a\\u0000\"]",
            "3:8: the program of run has a zero byte in it, which no process can be given; leave it out",
        ),
    ] {
        assert_eq!(as_command(line), [said], "{line}");
    }
    assert_eq!(in_phase("fix = []"), ["4:7: fix is empty; its first item is the program, [\"npm\", \"test\"]"]);
    assert_eq!(
        in_phase("fix = \"./fix.sh\""),
        ["4:7: fix is text; it is an array of a program and its arguments, [\"./fix.sh\"]"]
    );
    let long = as_command(&format!("run = [\"a\", \"{}\"]", "x".repeat(200_000)));
    assert_eq!(long, ["3:13: an argument of run has 200000 bytes, and 102400 are the most; put it into a file"]);
}

#[test]
fn names_can_stand_in_headers_and_variables() {
    for wrong in ["", "a b", "-a", ".a", "prüfen", "a\\nb", "a\\u0000", "a/b", &"x".repeat(65)] {
        let text = format!("[[phase]]\nname = \"{wrong}\"\nrun = [\"true\"]\n");
        let said = problems(&text);
        assert!(said.len() == 1 && said[0].starts_with("2:8: `"), "{said:?}");
        assert!(said[0].contains("is no name of a phase; one begins with a letter or digit"), "{said:?}");
        assert_eq!(said[0].lines().count(), 1);
    }
    assert_eq!(
        problems("[[phase]]\nname = 1\nrun = [\"true\"]"),
        ["2:8: name is a number; it is text, like \"build\""]
    );
    for right in ["a", "test:unit", "7z", "a.b_c-D", &"x".repeat(64)] {
        assert!(Recipe::parse(&format!("[[phase]]\nname = \"{right}\"\nrun = [\"true\"]\n")).is_ok(), "{right}");
    }
}

#[test]
fn a_name_stands_once_in_a_list() {
    let phase = |header: &str| format!("[[{header}]]\nname = \"test\"\nrun = [\"true\"]\n");
    let twice = [phase("phase"), phase("phase"), phase("phase")].concat();
    let said = "is the name of the phase at line 2; choose another";
    assert_eq!(problems(&twice), [format!("5:8: `test` {said}"), format!("8:8: `test` {said}")]);
    assert!(Recipe::parse(&[phase("phase"), phase("category.a.phase"), phase("category.b.phase")].concat()).is_ok());
}

#[test]
fn conditions_name_a_script_or_a_file_below_the_package() {
    let right = "when is \"script:NAME\" or \"file:NAME\"";
    for (line, said) in [
        ("when = \"test\"", format!("4:8: `test` is no condition; {right}")),
        ("when = \"env:CI\"", format!("4:8: `env:CI` is no condition; {right}")),
        ("when = \"script:\"", "4:8: when names nothing; it is \"script:NAME\" or \"file:NAME\"".to_owned()),
        ("when = \"file:\"", "4:8: when names nothing; it is \"script:NAME\" or \"file:NAME\"".to_owned()),
        ("when = true", "4:8: when is true or false; it is text, \"script:NAME\" or \"file:NAME\"".to_owned()),
    ] {
        assert_eq!(in_phase(line), [said], "{line}");
    }
    for path in ["/etc/passwd", "..", "../other", "a/../../b", "a/..", "a\\u0000"] {
        let said = in_phase(&format!("when = \"file:{path}\""));
        assert!(
            said.len() == 1 && said[0].contains("leaves the package's folder; a file is named by its path"),
            "{said:?}"
        );
    }
}

#[test]
fn durations_are_longer_than_nothing() {
    let like = "like \"10m\", \"90s\" or \"1h 30m\"";
    for key in ["timeout", "silence"] {
        let column = key.len() + 4;
        for (value, said) in [
            ("\"0s\"", format!("{key} is shorter than a millisecond; it is a duration {like}")),
            ("\"1us\"", format!("{key} is shorter than a millisecond; it is a duration {like}")),
            ("600", format!("{key} is a number; it is text, {like}")),
            ("\"600\"", format!("`600` is no duration; {key} is one {like}")),
            ("\"-1s\"", format!("`-1s` is no duration; {key} is one {like}")),
            ("\"\"", format!("`` is no duration; {key} is one {like}")),
            ("\"99999999999999999999y\"", format!("`99999999999999999999y` is no duration; {key} is one {like}")),
        ] {
            assert_eq!(in_phase(&format!("{key} = {value}")), [format!("4:{column}: {said}")], "{value}");
        }
    }
}

#[test]
fn sizes_are_larger_than_nothing() {
    let like = "like \"64MB\", \"500KiB\" or \"1GiB\"";
    for (value, said) in [
        ("\"0MB\"", format!("output_limit is nothing; it is a size {like}")),
        ("64", format!("output_limit is a number; it is text, {like}")),
        ("\"-1MB\"", format!("`-1MB` is no size; output_limit is one {like}")),
        ("\"much\"", format!("`much` is no size; output_limit is one {like}")),
        ("\"64 MBs\"", format!("`64 MBs` is no size; output_limit is one {like}")),
        ("\"\"", format!("`` is no size; output_limit is one {like}")),
    ] {
        assert_eq!(in_phase(&format!("output_limit = {value}")), [format!("4:16: {said}")], "{value}");
    }
}

#[test]
fn the_environment_is_text_under_names_that_are_not_ours() {
    for own in OWN_VARIABLES {
        let said = [format!("4:9: {own} is set by Packline itself; choose another name")];
        assert_eq!(in_phase(&format!("env = {{ {own} = \"x\" }}")), said);
    }
    for (line, said) in [
        ("env = \"A=b\"", "4:7: env is text; it is a table, { NAME = \"value\" }"),
        ("env = { PORT = 8080 }", "4:16: the variable PORT is a number; it is text, in quotes"),
        ("env.A.B = \"x\"", "4:5: the variable A is a table; it is text, in quotes"),
        (
            "env = { \"A=B\" = \"x\" }",
            "4:9: `A=B` is no name of a variable; one is not empty and has no `=` and no zero byte",
        ),
        (
            "env = { \"\" = \"x\" }",
            "4:9: `` is no name of a variable; one is not empty and has no `=` and no zero byte",
        ),
        (
            "env = { \"A\\u0000\" = \"x\" }",
            "4:9: `A\\0` is no name of a variable; one is not empty and has no `=` and no zero byte",
        ),
        (
            "env = { A = \"x\\u0000\" }",
            "4:13: the variable A has a zero byte in it, which no process can be given; leave it out",
        ),
    ] {
        assert_eq!(in_phase(line), [said], "{line}");
    }
}

#[test]
fn the_options_of_a_workspace_are_words_of_a_list() {
    let said = |line: &str| problems(&format!("[workspace]\n{line}\n"));
    for (line, expected) in [
        ("mode = \"shared\"", "2:8: `shared` is not known; mode is \"workspace\" or \"isolated\""),
        ("mode = true", "2:8: mode is true or false; it is text, \"workspace\" or \"isolated\""),
        ("mode = \"Isolated\"", "2:8: `Isolated` is not known; mode is \"workspace\" or \"isolated\""),
        ("root_build = \"yes\"", "2:14: `yes` is not known; root_build is \"auto\", \"always\" or \"never\""),
        ("root_build = false", "2:14: root_build is true or false; it is text, \"auto\", \"always\" or \"never\""),
        ("root_build_script = 1", "2:21: root_build_script is a number; it is text, like \"build\""),
        (
            "root_build_script = \"\"",
            "2:21: root_build_script names nothing; it is a script of the root, like \"build\"",
        ),
        (
            "root_build_script = \"--if-present\"",
            "2:21: `--if-present` begins with `-`; root_build_script is a script of the root, like \"build\"",
        ),
        (
            "root_build_script = \"a\\u0000\"",
            "2:21: root_build_script has a zero byte in it, which no process can be given; leave it out",
        ),
        ("root_test = \"fail\"", "2:13: `fail` is not known; root_test is \"report\" or \"gate\""),
        ("lint = \"off\"", "2:8: `off` is not known; lint is \"warn\" or \"fail\""),
        (
            "modes = \"isolated\"",
            "2:1: unknown key `modes`; a workspace has mode, root_build, root_build_script, root_test and lint",
        ),
    ] {
        assert_eq!(said(line), [expected], "{line}");
    }
    assert_eq!(said("mode = 1\nlint = 2").len(), 2, "all of them are said");
    assert_eq!(problems("workspace = \"isolated\""), ["1:13: workspace is text; it is a table, write [workspace]"]);
    assert_eq!(problems("[[workspace]]"), ["1:1: workspace is an array; it is a table, write [workspace]"]);
}

#[test]
fn the_number_of_fixes_is_limited() {
    for value in ["-1", "101", "1.5", "\"1\"", "99999999999999999999"] {
        let text = format!("max_fix_attempts = {value}\n[[phase]]\nname = \"a\"\nrun = [\"a\"]\n");
        assert_eq!(problems(&text), ["1:20: max_fix_attempts is a whole number from 0 to 100"], "{value}");
    }
}

#[test]
fn a_category_is_one_that_a_package_can_have() {
    let phase = |name: &str| format!("[[category.\"{name}\".phase]]\nname = \"a\"\nrun = [\"a\"]\n");
    let said = "1:12: a category of 201 bytes is that of no package; it has at most 200";
    assert_eq!(problems(&phase(&"x".repeat(201))), [said]);
    for right in ["", "a b", "Dokumentation für alle", &"x".repeat(200)] {
        assert!(Recipe::parse(&phase(right)).is_ok(), "{right}");
    }
}

#[test]
fn a_list_of_phases_has_an_end() {
    let phases = |count: usize| -> String {
        (0..count).map(|n| format!("[[phase]]\nname = \"p{n}\"\nrun = [\"true\"]\n")).collect()
    };
    assert!(Recipe::parse(&phases(100)).is_ok());
    assert_eq!(problems(&phases(102)), ["301:1: 102 phases, and 100 are the most; run several commands in one"]);
}

#[test]
fn all_errors_are_said_at_once_in_the_order_of_the_file() {
    let text = "max_fix_attempts = -1\n[[phase]]\nrun = \"make\"\nname = \"\"\n[[category.docs.phase]]\nname = \"a\"\nrun = []\ntimeout = \"0s\"\nenv = { PHASE = \"x\", B = 1 }\n";
    let places: Vec<String> =
        problems(text).iter().map(|said| said.splitn(3, ':').take(2).collect::<Vec<_>>().join(":")).collect();
    assert_eq!(places, ["1:20", "3:7", "4:8", "7:7", "8:11", "9:9", "9:26"]);
}

#[test]
fn what_is_no_toml_is_said_with_its_place() {
    for (text, said) in [
        ("[[phase]\nname = \"a\"\n", "1:9: not TOML: unclosed array table, expected `]`"),
        ("a = 1\na = 2\n", "2:1: not TOML: duplicate key"),
        ("[[phase]]\nname = \"test\n", "2:13: not TOML: invalid basic string, expected `\"`"),
        ("é = 1\n", "1:1: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`"),
    ] {
        assert_eq!(problems(text).first().map(String::as_str), Some(said), "{text}");
    }
    assert_eq!(problems("a = 1\na = 2\n[b\n").len(), 2);
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        problems("[[phase]]\nname = \"a\"\nrun = [\"é…日本\", 5]\n"),
        ["3:16: an argument of run is a number; it is text, in quotes"]
    );
    assert_eq!(
        problems("\u{feff}phase = 1\r\n"),
        ["1:9: phase is a number; it is an array of tables, write [[phase]]"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        Recipe::read(&file).unwrap_err()
    };
    let unreadable = |error: RecipeError| match error {
        RecipeError::Unreadable(why) => why,
        RecipeError::Wrong(problems) => panic!("{problems:?}"),
    };
    let missing = unreadable(Recipe::read(&folder.path().join("none.toml")).unwrap_err());
    assert!(
        missing.ends_with("none.toml cannot be read as a recipe: No such file or directory (os error 2)"),
        "{missing}"
    );
    assert!(unreadable(Recipe::read(folder.path()).unwrap_err()).contains("Is a directory"));
    assert!(unreadable(read("large", &vec![b'#'; 1024 * 1024 + 1])).contains("it is larger than 1 MiB"));
    let RecipeError::Wrong(problems) = read("latin1", b"# a\n[[phase]]\nname = \"pr\xfcfen\"\n") else { panic!() };
    assert_eq!(problems[0].to_string(), "3:11: a byte that is no UTF-8; TOML is UTF-8 text");
    assert_eq!(RecipeError::Wrong(problems).to_string(), "1 error in the recipe");
}

proptest! {
    #[test]
    fn whatever_is_written_has_a_recipe_or_problems_with_places_in_it(
        cut in 0..EXAMPLE.len(),
        length in 0..20usize,
        put in "[\\PC\n\t\"'\\[\\]{}=.,#0-9]{0,8}",
    ) {
        let end = (cut + length).min(EXAMPLE.len());
        let text = format!("{}{put}{}", &EXAMPLE[..cut], &EXAMPLE[end..]);
        if let Err(problems) = Recipe::parse(&text) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                let line = text.split('\n').nth(problem.line - 1);
                prop_assert!(line.is_some_and(|line| problem.column <= line.chars().count() + 1), "{problem} in {text}");
                prop_assert_eq!(problem.what.lines().count(), 1);
            }
        }
    }
}
