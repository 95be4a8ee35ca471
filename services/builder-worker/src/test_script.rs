//! Whether a script `test` tests anything.
//!
//! `npm init` writes a script that only prints and fails, and members of workspaces have such ones where the tests are
//! at the root. They would fail every build, so a build takes them as no test at all.

use packline_domain::phase::Tests;

/// Why a phase with such a script is skipped.
pub const NO_TEST: &str = "the script test of package.json only prints and exits 1, so it is no test";

/// Whether a script `test` does anything but print and exit with status 1. Where the shell's words are not all
/// understood it does.
pub fn is_test(script: &str) -> bool {
    let Some(commands) = commands(script) else { return true };
    match commands.split_last() {
        Some((last, before)) => {
            !(last == &["exit", "1"] && !before.is_empty() && before.iter().all(|command| only_prints(command)))
        }
        None => true,
    }
}

/// What the root of a workspace has for the tests of its members: whether its own script `test` was run, and how it
/// ended. `None` where it has no test, or one that only runs those of the members.
pub fn of_root(script: Option<&str>, passed: Option<bool>) -> Option<Tests> {
    let script = script.filter(|script| is_test(script))?;
    let only_members = |commands: Vec<Vec<String>>| commands.iter().all(|command| runs_members(command));
    if commands(script).is_some_and(only_members) {
        return None;
    }
    Some(match passed {
        None => Tests::RootNotRun,
        Some(true) => Tests::RootPassed,
        Some(false) => Tests::RootFailed,
    })
}

fn only_prints(command: &[String]) -> bool {
    matches!(command.first().map(String::as_str), Some("echo" | "printf"))
}

/// Whether a command does nothing but run a script of each member.
fn runs_members(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let has = |flags: &[&str]| words.iter().any(|word| flags.contains(word));
    match words.first() {
        Some(&"npm") => has(&["--workspaces", "--workspaces=true", "-ws", "--ws"]),
        Some(&"pnpm") => has(&["-r", "--recursive", "recursive"]),
        Some(&"yarn") => has(&["workspaces"]),
        Some(&("lerna" | "turbo" | "wsrun")) => true,
        Some(&"nx") => has(&["run-many", "affected"]),
        Some(&"npx") => command.get(1..).is_some_and(runs_members),
        _ => false,
    }
}

/// The commands of a script that a shell runs one after the other, each if the one before passed or in any case;
/// `None` where something else happens.
pub(crate) fn commands(script: &str) -> Option<Vec<Vec<String>>> {
    let mut shell = Shell { rest: script.chars().peekable(), commands: vec![Vec::new()], word: None };
    while let Some(char) = shell.rest.next() {
        match char {
            '\'' => shell.single_quoted()?,
            '"' => shell.double_quoted()?,
            '\\' => {
                let escaped = shell.rest.next()?;
                shell.word().push(escaped);
            }
            '>' => shell.redirected()?,
            ' ' | '\t' => shell.end_word(),
            ';' | '\n' => shell.end_command(),
            '&' => {
                shell.rest.next_if_eq(&'&')?;
                shell.end_command();
            }
            '#' if shell.word.is_none() => while shell.rest.next_if(|char| *char != '\n').is_some() {},
            '|' | '<' | '(' | ')' | '{' | '}' | '`' | '$' | '!' => return None,
            plain => shell.word().push(plain),
        }
    }
    shell.end_command();
    shell.commands.retain(|command| !command.is_empty());
    Some(shell.commands)
}

/// A script as a shell reads it.
struct Shell<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    commands: Vec<Vec<String>>,
    /// The word that has begun.
    word: Option<String>,
}

impl Shell<'_> {
    fn word(&mut self) -> &mut String {
        self.word.get_or_insert_default()
    }

    fn end_word(&mut self) {
        if let (Some(word), Some(command)) = (self.word.take(), self.commands.last_mut()) {
            command.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.commands.push(Vec::new());
    }

    fn single_quoted(&mut self) -> Option<()> {
        loop {
            match self.rest.next()? {
                '\'' => break,
                char => self.word().push(char),
            }
        }
        self.word();
        Some(())
    }

    /// A variable is printed as it is; what a command prints is not known.
    fn double_quoted(&mut self) -> Option<()> {
        loop {
            match self.rest.next()? {
                '"' => break,
                '`' => return None,
                '$' if self.rest.peek() == Some(&'(') => return None,
                '\\' => {
                    let escaped = self.rest.next()?;
                    self.word().push(escaped);
                }
                char => self.word().push(char),
            }
        }
        self.word();
        Some(())
    }

    /// `>&2`, `1>&2` or `>/dev/stderr`: nothing but output goes elsewhere. What writes a file does more.
    fn redirected(&mut self) -> Option<()> {
        match &self.word {
            Some(number) if number == "1" || number == "2" => self.word = None,
            Some(_) => self.end_word(),
            None => {}
        }
        while self.rest.next_if_eq(&' ').is_some() {}
        let ends = |char: &char| !char.is_whitespace() && !";&|".contains(*char);
        if self.rest.next_if_eq(&'&').is_some() {
            return self.rest.next_if(|to| *to == '1' || *to == '2').map(drop);
        }
        let mut to = String::new();
        while let Some(char) = self.rest.next_if(ends) {
            to.push(char);
        }
        ["/dev/stderr", "/dev/stdout", "/dev/null"].contains(&to.as_str()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_prints_and_exits_1_is_no_test() {
        for script in [
            r#"echo "Error: no test specified" && exit 1"#,
            r#"echo "Error: run tests from root" && exit 1"#,
            "echo 'Error: no test specified' && exit 1",
            "echo Error: no test specified && exit 1",
            r#"echo "Error: no test specified"&&exit 1"#,
            r#"echo "Error: no test specified"; exit 1"#,
            "echo 'no test';exit 1;",
            "echo no test\nexit 1\n",
            r#"echo "Error: no test specified" >&2 && exit 1"#,
            r#"echo "Error: no test specified" 1>&2 && exit 1"#,
            r#"echo "Error: no test specified" >&2; exit 1"#,
            "echo no test > /dev/stderr && exit 1",
            r#">&2 echo "no test" && exit 1"#,
            "printf 'no test\\n' && exit 1",
            r#"echo one && echo "two; three | four" && exit 1"#,
            r#"  echo "no test"  &&  exit  1  "#,
            r#"echo "no \"test\" specified" && exit 1"#,
            r"echo it\'s no test && exit 1",
            r#"echo "$npm_package_name has no test" && exit 1"#,
            "echo no test && exit 1 # later",
            "echo 'a'\"b\"c && exit 1",
            "echo && exit 1",
        ] {
            assert!(!is_test(script), "{script}");
        }
    }

    #[test]
    fn all_else_is_a_test() {
        for script in [
            "",
            " ",
            "jest",
            "vitest run",
            "node --test",
            "exit 1",
            "exit 0",
            "true",
            "false",
            "echo no test",
            "echo no test && exit 0",
            "echo no test && exit 2",
            "echo no test && exit 75",
            "echo no test && exit 11",
            "echo no test && exit 1 && jest",
            "echo testing && jest && exit 1",
            "jest && echo done && exit 1",
            "jest || (echo failed && exit 1)",
            "jest || exit 1",
            "echo no test || exit 1",
            "echo no test & exit 1",
            "echo no test | tee log; exit 1",
            "echo $(jest) && exit 1",
            r#"echo "$(jest)" && exit 1"#,
            "echo `jest` && exit 1",
            r#"echo "`jest`" && exit 1"#,
            "echo no test > log && exit 1",
            "echo no test >> /dev/stderr.log && exit 1",
            "echo no test >&log && exit 1",
            "echo no test < input && exit 1",
            "! echo no test && exit 1",
            "if jest; then exit 1; fi",
            r#"echo "no test && exit 1"#,
            "echo 'no test && exit 1",
            "echo no test && exit 1 \\",
            "echoes && exit 1",
            "CI=1 echo no test && exit 1",
            "\"echo no test\" && exit 1",
            "node -e \"console.log('no test'); process.exit(1)\"",
            "# echo no test && exit 1",
        ] {
            assert!(is_test(script), "{script}");
        }
    }

    #[test]
    fn the_root_has_tests_where_it_runs_more_than_those_of_the_members() {
        for script in ["vitest run", "jest && npm test --workspaces", "lerna run build && jest", "tap $(ls test)"] {
            assert_eq!(of_root(Some(script), None), Some(Tests::RootNotRun), "{script}");
            assert_eq!(of_root(Some(script), Some(true)), Some(Tests::RootPassed), "{script}");
            assert_eq!(of_root(Some(script), Some(false)), Some(Tests::RootFailed), "{script}");
        }
        for script in [
            "npm test --workspaces",
            "npm run test -ws --if-present",
            "lerna run test",
            "npx lerna run test --stream",
            "turbo run build && turbo run test",
            "pnpm -r test",
            "yarn workspaces foreach -A run test",
            "nx run-many -t test",
            "echo \"Error: no test specified\" && exit 1",
        ] {
            assert_eq!(of_root(Some(script), None), None, "{script}");
        }
        assert_eq!(of_root(None, None), None);
    }
}
