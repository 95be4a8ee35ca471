//! The values of a recipe's keys: each read from its place, or what is wrong with it there.

use std::{
    collections::BTreeMap,
    path::{Component, Path},
    time::Duration,
};

use bytesize::ByteSize;
use packline_domain::package::MAX_CATEGORY;
use toml::{Spanned, de::DeValue};

use crate::{OWN_VARIABLES, Step, When};

/// A value and where it stands.
pub(crate) type Placed<'t> = Spanned<DeValue<'t>>;

/// What is wrong, each with the byte of the text at which it is.
pub(crate) type Wrong = Vec<(usize, String)>;

/// The most that one build may try to fix.
const MOST_FIX_ATTEMPTS: i64 = 100;
/// The longest name of a phase, in bytes: it stands in headers, variables and results.
const LONGEST_NAME: usize = 64;
/// The longest argument or variable, in bytes: beyond 128 KiB the kernel starts nothing.
const LONGEST_TEXT: usize = 100 * 1024;

/// One thing that is wrong with a value.
pub(crate) fn wrong<T>(value: &Placed<'_>, what: impl Into<String>) -> Result<T, Wrong> {
    Err(vec![(value.span().start, what.into())])
}

/// Text of the file as it stands in a line for people.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().count() > 60 {
        shown.push('…');
    }
    shown
}

/// What a value is, for people.
pub(crate) fn kind(value: &Placed<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

fn text<'v>(value: &'v Placed<'_>, key: &str, right: &str) -> Result<&'v str, Wrong> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text),
        _ => wrong(value, format!("{key} is {}; it is text, {right}", kind(value))),
    }
}

/// `max_fix_attempts`.
pub(crate) fn fix_attempts(value: &Placed<'_>) -> Result<u32, Wrong> {
    let number = match value.get_ref() {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    };
    match number.filter(|number| (0..=MOST_FIX_ATTEMPTS).contains(number)).and_then(|number| number.try_into().ok()) {
        Some(number) => Ok(number),
        None => wrong(value, format!("max_fix_attempts is a whole number from 0 to {MOST_FIX_ATTEMPTS}")),
    }
}

/// `name`.
pub(crate) fn name(value: &Placed<'_>) -> Result<String, Wrong> {
    let name = text(value, "name", "like \"build\"")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let fits = name.len() <= LONGEST_NAME && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if fits && name.bytes().all(plain) {
        return Ok(name.to_owned());
    }
    wrong(
        value,
        format!(
            "`{}` is no name of a phase; one begins with a letter or digit of ASCII, goes on with these, `-`, `_`, `.` and `:`, and has at most {LONGEST_NAME} bytes",
            shown(name)
        ),
    )
}

/// `run` and `fix`: a program and its arguments.
pub(crate) fn argv(value: &Placed<'_>, key: &str) -> Result<Vec<String>, Wrong> {
    let items = match value.get_ref() {
        DeValue::Array(items) => items,
        DeValue::String(line) => {
            return wrong(
                value,
                format!("{key} is text; it is an array of a program and its arguments, {}", in_words(line)),
            );
        }
        _ => {
            return wrong(
                value,
                format!("{key} is {}; it is an array of a program and its arguments, [\"npm\", \"test\"]", kind(value)),
            );
        }
    };
    if items.is_empty() {
        return wrong(value, format!("{key} is empty; its first item is the program, [\"npm\", \"test\"]"));
    }
    let (mut words, mut wrongs) = (Vec::new(), Wrong::new());
    for (index, item) in items.iter().enumerate() {
        match argument(item, key, index) {
            Ok(word) => words.push(word),
            Err(more) => wrongs.extend(more),
        }
    }
    if wrongs.is_empty() { Ok(words) } else { Err(wrongs) }
}

fn argument(item: &Placed<'_>, key: &str, index: usize) -> Result<String, Wrong> {
    let what = if index == 0 { "the program" } else { "an argument" };
    match item.get_ref() {
        DeValue::String(word) if index == 0 && word.is_empty() => {
            wrong(item, format!("{key} names no program; its first item is the program, \"npm\""))
        }
        DeValue::String(word) => handed_over(item, &format!("{what} of {key}"), word),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
            wrong(item, format!("{what} of {key} is {}; it is text, in quotes", kind(item)))
        }
        _ => wrong(item, format!("{what} of {key} is {}; it is text", kind(item))),
    }
}

/// What the kernel takes as an argument or a variable.
fn handed_over(item: &Placed<'_>, what: &str, text: &str) -> Result<String, Wrong> {
    if text.contains('\0') {
        return wrong(item, format!("{what} has a zero byte in it, which no process can be given; leave it out"));
    }
    if text.len() > LONGEST_TEXT {
        let right = "put it into a file";
        return wrong(item, format!("{what} has {} bytes, and {LONGEST_TEXT} are the most; {right}", text.len()));
    }
    Ok(text.to_owned())
}

/// The array for a line that was meant for a shell.
fn in_words(line: &str) -> String {
    let for_a_shell = line.contains(['|', '&', ';', '<', '>', '$', '`', '(', ')', '*', '?', '~', '#', '=']);
    let words = match shlex::split(line) {
        Some(words) if !for_a_shell && !words.is_empty() => words,
        _ => vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()],
    };
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"", shown(word))).collect();
    format!("[{}]", quoted.join(", "))
}

/// `when`.
pub(crate) fn when(value: &Placed<'_>) -> Result<When, Wrong> {
    let right = "\"script:NAME\" or \"file:NAME\"";
    let condition = text(value, "when", right)?;
    match condition.split_once(':') {
        Some(("script" | "file", "")) => wrong(value, format!("when names nothing; it is {right}")),
        Some(("script", name)) => Ok(When::Script(name.to_owned())),
        Some(("file", path)) if stays_inside(path) => Ok(When::File(path.to_owned())),
        Some(("file", path)) => wrong(
            value,
            format!("`{}` leaves the package's folder; a file is named by its path below that", shown(path)),
        ),
        _ => wrong(value, format!("`{}` is no condition; when is {right}", shown(condition))),
    }
}

fn stays_inside(path: &str) -> bool {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.contains('\0') && Path::new(path).components().all(inside)
}

/// `timeout` and `silence`.
pub(crate) fn duration(value: &Placed<'_>, key: &str) -> Result<Duration, Wrong> {
    let right = "like \"10m\", \"90s\" or \"1h 30m\"";
    let typed = text(value, key, right)?;
    match humantime::parse_duration(typed) {
        Ok(duration) if duration < Duration::from_millis(1) => {
            wrong(value, format!("{key} is shorter than a millisecond; it is a duration {right}"))
        }
        Ok(duration) => Ok(duration),
        Err(_) => wrong(value, format!("`{}` is no duration; {key} is one {right}", shown(typed))),
    }
}

/// `output_limit`.
pub(crate) fn size(value: &Placed<'_>, key: &str) -> Result<u64, Wrong> {
    let right = "like \"64MB\", \"500KiB\" or \"1GiB\"";
    let typed = text(value, key, right)?;
    match typed.trim().parse::<ByteSize>() {
        Ok(ByteSize(0)) => wrong(value, format!("{key} is nothing; it is a size {right}")),
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => wrong(value, format!("`{}` is no size; {key} is one {right}", shown(typed))),
    }
}

/// `builtin`.
pub(crate) fn builtin(value: &Placed<'_>) -> Result<Step, Wrong> {
    match text(value, "builtin", "\"install\", \"prepare\" or \"publish\"")? {
        "install" => Ok(Step::Install),
        "prepare" => Ok(Step::Prepare),
        // The second one is the name that it had when it was the only one.
        "publish" | "npm-publish" => Ok(Step::Publish),
        other => {
            wrong(value, format!("`{}` is not built in; \"install\", \"prepare\" and \"publish\" are", shown(other)))
        }
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(value: &Placed<'_>, key: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let right = match words.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    };
    let typed = text(value, key, &right)?;
    match choices.iter().find(|(word, _)| *word == typed) {
        Some((_, choice)) => Ok(*choice),
        None => wrong(value, format!("`{}` is not known; {key} is {right}", shown(typed))),
    }
}

/// The name of a script of `package.json`.
pub(crate) fn script(value: &Placed<'_>, key: &str) -> Result<String, Wrong> {
    let name = text(value, key, "like \"build\"")?;
    if name.is_empty() {
        return wrong(value, format!("{key} names nothing; it is a script of the root, like \"build\""));
    }
    // npm would read the name of a script that begins so as an option.
    if name.starts_with('-') {
        return wrong(
            value,
            format!("`{}` begins with `-`; {key} is a script of the root, like \"build\"", shown(name)),
        );
    }
    handed_over(value, key, name)
}

/// `env`.
pub(crate) fn env(value: &Placed<'_>) -> Result<BTreeMap<String, String>, Wrong> {
    let DeValue::Table(table) = value.get_ref() else {
        return wrong(value, format!("env is {}; it is a table, {{ NAME = \"value\" }}", kind(value)));
    };
    let (mut env, mut wrongs) = (BTreeMap::new(), Wrong::new());
    for (key, item) in table.iter() {
        let name = key.get_ref();
        if let Some(what) = name_refused(name) {
            wrongs.push((key.span().start, what));
        }
        match item.get_ref() {
            DeValue::String(text) => match handed_over(item, &format!("the variable {}", shown(name)), text) {
                Ok(text) => {
                    env.insert(name.to_string(), text);
                }
                Err(more) => wrongs.extend(more),
            },
            _ => wrongs.push((
                item.span().start,
                format!("the variable {} is {}; it is text, in quotes", shown(name), kind(item)),
            )),
        }
    }
    if wrongs.is_empty() { Ok(env) } else { Err(wrongs) }
}

fn name_refused(name: &str) -> Option<String> {
    if OWN_VARIABLES.contains(&name) {
        return Some(format!("{name} is set by Packline itself; choose another name"));
    }
    if name.is_empty() || name.contains(['=', '\0']) || name.len() > LONGEST_TEXT {
        let name = shown(name);
        return Some(format!("`{name}` is no name of a variable; one is not empty and has no `=` and no zero byte"));
    }
    None
}

/// The name of a category.
pub(crate) fn category(name: &str) -> Result<(), String> {
    if name.len() <= MAX_CATEGORY {
        return Ok(());
    }
    Err(format!("a category of {} bytes is that of no package; it has at most {MAX_CATEGORY}", name.len()))
}
