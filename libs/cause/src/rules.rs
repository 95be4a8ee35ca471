//! The lines by which tools say what is wrong.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

use crate::{
    Finder, Rank,
    pending::{Message, Pending, npm_words},
};

/// The codes of Yarn that are errors, and not what it does or warns of.
const OF_YARN: [&str; 14] = [
    "YN0001", "YN0009", "YN0016", "YN0018", "YN0024", "YN0027", "YN0028", "YN0035", "YN0041", "YN0071", "YN0078",
    "YN0080", "YN0081", "YN0082",
];
/// That a script or another command failed, of which its own words say more.
const OF_A_COMMAND: [&str; 4] = ["ELIFECYCLE", "RUN_FIRST_FAIL", "EXEC_FIRST_FAIL", "RECURSIVE_FAIL"];

macro_rules! patterns {
    ($($name:ident = $pattern:literal;)+) => {
        $(static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($pattern).ok());)+

        #[cfg(test)]
        mod tests {
            #[test]
            fn all_patterns_are_understood() {
                $(assert!(super::$name.is_some(), stringify!($name));)+
            }
        }
    };
}

patterns! {
    TSC = r"(?:\S+\(\d+,\d+\): |\S+:\d+:\d+ - )?error TS\d+: .+";
    ESLINT_FILE = r"^(?:/|[A-Za-z]:\\)[^:]*\.\w+$";
    ESLINT = r"^\s+(\d+:\d+)\s+error\s+(.+?)(?:\s{2,}(\S+))?$";
    ESLINT_WARNINGS = r"^ESLint found too many warnings .+";
    VITEST = r"^\s*[×✗] (.+?)(?: \d+m?s)?$";
    SUITE = r"^ FAIL  (.+)$";
    JEST = r"^\s+● (.+)$";
    MOCHA = r"^\s+1\) (\S.*)$";
    MOCHA_COUNT = r"^\s+\d+ failing$";
    TAP = r"^\s*not ok \d+ - (.+)$";
    SPEC = r"^\s*✖ (.+) \([\d.]+ms\)$";
    ROLLUP = r"^\[!\] (.+)$";
    ESBUILD = r"(?:✘|X) \[ERROR\] (.+)$";
    NOT_FOUND = r"^(?:\S*/)?(?:sh|bash|dash|ash): (?:line )?(?:\d+: )?(\S+): (?:command )?not found$|^command not found: (\S+)$";
    NODE_ENDS = r"^Node\.js v\d+\.";
    PNPM = r"ERR_PNPM_(\w+)[\]\s]*(.*)$";
    YARN = r"^➤ (YN\d{4}): [│ ]*(.*)$";
    YARN_CLASSIC = r"^error (.+)$";
    ERROR_NAME = r"(?:^|\s)\w*(?:Error|Exception)(?: ?\[\w+\])?: \S";
    ERROR_FIRST = r"(?i)^\W{0,4}(?:fatal(?: error)?|error|panic)(?:\[\w+\])?\W{1,3}\S";
    ERROR_WITHIN = r"(?i)(?:^|\s|:)(?:fatal )?error(?: \w+)?: \S";
}

/// What stands in each line that a rule reads; only where one of these is are the rules looked at.
const WORDS: [&str; 15] = [
    "error",
    "exception",
    "fatal",
    "panic",
    "npm ",
    "yn00",
    "err_pnpm_",
    "not found",
    "not ok ",
    "fail",
    "[!] ",
    "node.js v",
    "lifecycle",
    "too many warnings",
    "1) ",
];
const MARKS: [char; 6] = ['×', '✗', '●', '✖', '✘', '/'];

static TELLING: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).ok());

/// Whether a rule may have something to say of a line.
pub(crate) fn may_tell(line: &str) -> bool {
    line.trim_start().starts_with(MARKS) || TELLING.as_ref().is_some_and(|words| words.is_match(line))
}

/// Takes a line that is not empty.
pub(crate) fn read(finder: &mut Finder, line: &str) {
    if let Some(words) = npm_words(line) {
        return of_npm(finder, words);
    }
    if of_tool(finder, line) || of_manager(finder, line) {
        return;
    }
    of_any(finder, line);
}

fn part<'l>(pattern: &LazyLock<Option<Regex>>, line: &'l str) -> Option<&'l str> {
    let captures = pattern.as_ref()?.captures(line)?;
    captures.iter().skip(1).flatten().next().or_else(|| captures.get(0)).map(|found| found.as_str())
}

fn matches(pattern: &LazyLock<Option<Regex>>, line: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(line))
}

fn of_tool(finder: &mut Finder, line: &str) -> bool {
    if let Some(program) = part(&NOT_FOUND, line) {
        let cause = format!(
            "{program}: not found; neither the package nor the root of its workspace depends on a package that has this program"
        );
        // A script may go on without it, and then fails by something else.
        finder.found(Rank::ToolTitle, &cause);
    } else if let Some(error) = part(&TSC, line) {
        finder.found(Rank::Tool, error);
    } else if let (Some(file), Some(problem)) = (&finder.file, captures(&ESLINT, line)) {
        let rule = problem.2.map(|rule| format!(" ({rule})")).unwrap_or_default();
        let cause = format!("{file}:{}: {}{rule}", problem.0, problem.1);
        finder.found(Rank::Tool, &cause);
    } else if matches(&ESLINT_FILE, line) {
        finder.file = Some(line.to_owned());
        return false;
    } else if matches(&ESLINT_WARNINGS, line) {
        finder.found(Rank::Tool, line);
    } else if let Some(error) = part(&ROLLUP, line) {
        finder.found(Rank::Tool, error);
    } else if matches(&MOCHA_COUNT, line) {
        finder.is_mocha = true;
    } else if let Some((title, message)) = titled(finder, line) {
        finder.pending = Some(Pending::of_tool(&title, message));
    } else {
        return false;
    }
    true
}

/// The title of an error whose message is to come, and where that is.
fn titled(finder: &Finder, line: &str) -> Option<(String, Message)> {
    if matches!(line.trim_end_matches(':'), "error during build") {
        return Some((String::new(), Message::Next));
    }
    if let Some(title) = part(&TAP, line).filter(|title| !title.contains("# TODO") && !title.contains("# SKIP")) {
        return Some((format!("not ok: {title}"), Message::Yaml));
    }
    let titles = [
        (&VITEST, Message::Arrow, "× "),
        (&SUITE, Message::Next, ""),
        (&JEST, Message::Next, ""),
        (&SPEC, Message::Indented, "✖ "),
        (&ESBUILD, Message::Place, ""),
    ];
    let found = titles.into_iter().find_map(|(pattern, message, mark)| Some((part(pattern, line)?, message, mark)));
    // Jest has a section of the same form for what passing tests print.
    let found = found.filter(|(title, ..)| *title != "Console" && !title.contains("Warning"));
    if let Some((title, message, mark)) = found {
        return Some((format!("{mark}{title}"), message));
    }
    part(&MOCHA, line).filter(|_| finder.is_mocha).map(|title| (title.to_owned(), Message::Title))
}

fn captures<'l>(pattern: &LazyLock<Option<Regex>>, line: &'l str) -> Option<(&'l str, &'l str, Option<&'l str>)> {
    let found = pattern.as_ref()?.captures(line)?;
    Some((found.get(1)?.as_str(), found.get(2)?.as_str(), found.get(3).map(|rule| rule.as_str())))
}

/// What pnpm and Yarn say.
fn of_manager(finder: &mut Finder, line: &str) -> bool {
    let of_a_command = |code: &str| OF_A_COMMAND.iter().any(|end| code.ends_with(end));
    if let Some((code, says, _)) = captures(&PNPM, line) {
        if !of_a_command(code) {
            match says.is_empty() {
                true => finder.pending = Some(Pending::of_tool(code, Message::Next)),
                false => finder.found(Rank::Manager, &format!("{code}: {says}")),
            }
        }
        return true;
    }
    if let Some((code, says, _)) = captures(&YARN, line) {
        let is_diff = code == "YN0028" && (says.is_empty() || says.starts_with(['+', '-', '@']));
        if OF_YARN.contains(&code) && !is_diff {
            finder.found(Rank::Manager, &format!("{code}: {says}"));
        }
        return true;
    }
    if of_a_command(line.trim_matches(['[', ' ', '\u{2009}']).split([']', ' ', '\u{2009}']).next().unwrap_or_default())
    {
        return true;
    }
    let of_classic = part(&YARN_CLASSIC, line);
    if let Some(says) = of_classic.filter(|says| !says.starts_with("Command failed")) {
        finder.found(Rank::Manager, says);
    }
    of_classic.is_some()
}

/// What npm says behind its name.
fn of_npm(finder: &mut Finder, words: &str) {
    const OF_SCRIPTS: [&str; 6] = ["Lifecycle script", "command", "path", "workspace", "location", "A complete log"];
    if !words.is_empty() {
        finder.of_npm.get_or_insert_with(|| format!("npm error {words}"));
    }
    if let Some(code) = words.strip_prefix("code ") {
        finder.npm_code = Some(code.to_owned());
        return;
    }
    let Some(code) = finder.npm_code.clone().filter(|code| code.starts_with('E')) else {
        if !words.is_empty() && !OF_SCRIPTS.iter().any(|of_script| words.starts_with(of_script)) {
            finder.found(Rank::ManagerTitle, words);
        }
        return;
    };
    if words.is_empty() || OF_SCRIPTS.iter().any(|of_script| words.starts_with(of_script)) {
        return;
    }
    // npm puts a word of its own before each line.
    let (word, rest) = words.split_once(' ').unwrap_or(("", words));
    match (code.as_str(), word) {
        ("ERESOLVE", "ERESOLVE") => {
            finder.pending =
                Some(Pending::of_npm("ERESOLVE: could not resolve dependency", "Could not resolve dependency:"));
        }
        ("EBADENGINE", "engine") if rest.starts_with("Not compatible") => {
            finder.pending = Some(Pending::of_npm(&format!("EBADENGINE: {rest}, which require"), "notsup Required:"));
        }
        ("EBADENGINE", "engine") => {}
        ("ETARGET", "notarget") | ("E404", "404") => finder.found(Rank::Manager, &format!("{code}: {rest}")),
        _ => finder.found(Rank::Manager, &format!("{code}: {words}")),
    }
}

/// What any other tool says.
fn of_any(finder: &mut Finder, line: &str) {
    let text = line.trim();
    if matches(&NODE_ENDS, line) {
        if let Some(error) = finder.error.take() {
            finder.found(Rank::Uncaught, &error);
        }
        return;
    }
    let is_error = [&ERROR_NAME, &ERROR_FIRST, &ERROR_WITHIN].into_iter().any(|pattern| matches(pattern, line));
    if is_error && !text.starts_with("at ") && !text.to_lowercase().starts_with("warn") {
        finder.found(Rank::Error, text);
        finder.error = Some(text.to_owned());
    }
    finder.note_last(line);
}
