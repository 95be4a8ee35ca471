//! The dialect of INI that npm reads its settings in.
//!
//! No crate reads it: rust-ini and configparser end a key at the first `:`, which cuts `//host/:_authToken` apart, and
//! none of them knows `key[]`, values that are JSON in quotes, or keys without a value. So this is a parser of our own.

use serde_json::Value as Json;

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Any text, also an empty one.
    Text(String),
    /// `true`, `false`, or a key without a value.
    Flag(bool),
    /// `null`: the setting has no value, and hides one that is set in a place that counts less.
    Null,
    /// What is set by `key[]`.
    List(Vec<String>),
}

impl Value {
    /// As text; `None` for what npm takes for no value.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Value::Text(text) if text.is_empty() => None,
            Value::Text(text) => Some(text.clone()),
            Value::Flag(true) => Some("true".into()),
            Value::Flag(false) | Value::Null => None,
            Value::List(items) => Some(items.join(",")),
        }
    }

    fn items(self) -> Vec<String> {
        match self {
            Value::List(items) => items,
            Value::Text(text) => vec![text],
            Value::Flag(flag) => vec![flag.to_string()],
            Value::Null => vec!["null".into()],
        }
    }
}

/// The settings in a file, in its order. Lines that say nothing to npm are skipped, and all from the first
/// `[section]` on is: npm has no sections, and a file cannot leave one.
pub(crate) fn parse(text: &str) -> Vec<(String, Value)> {
    let mut settings: Vec<(String, Value)> = Vec::new();
    for line in text.split(['\r', '\n']) {
        let start = trim(line);
        if start.is_empty() || start.starts_with([';', '#']) {
            continue;
        }
        if is_section(line) {
            break;
        }
        let (key, value) = match line.split_once('=') {
            // Nothing before the first `=`.
            Some(("", _)) => continue,
            Some((key, value)) => (key, constant(scalar(value))),
            None => (line, Value::Flag(true)),
        };
        let key = scalar(key).items().concat();
        let (key, is_list) = match key.strip_suffix("[]") {
            Some(list) if !list.is_empty() => (list.to_owned(), true),
            _ => (key, false),
        };
        let Some(at) = settings.iter().position(|(known, _)| *known == key) else {
            settings.push((key, if is_list { Value::List(value.items()) } else { value }));
            continue;
        };
        let Some((_, known)) = settings.get_mut(at) else { continue };
        // A list stays one where the brackets were forgotten.
        *known = match (std::mem::replace(known, Value::Null), is_list) {
            (Value::List(mut items), _) => {
                items.extend(value.items());
                Value::List(items)
            }
            (before, true) => Value::List(before.items().into_iter().chain(value.items()).collect()),
            (_, false) => value,
        };
    }
    settings
}

/// Without white space around it, of which JavaScript counts the byte order mark.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// `[name]`, from the start of the line.
fn is_section(line: &str) -> bool {
    let name = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    name.is_some_and(|(_, rest)| trim(rest).is_empty())
}

fn constant(value: Value) -> Value {
    match &value {
        Value::Text(text) => match text.as_str() {
            "true" => Value::Flag(true),
            "false" => Value::Flag(false),
            "null" => Value::Null,
            _ => value,
        },
        _ => value,
    }
}

/// One key or value: JSON in quotes, or plain up to a `;` or `#` that no backslash precedes.
fn scalar(text: &str) -> Value {
    let text = trim(text);
    let quoted = |quote: char| text.starts_with(quote) && text.ends_with(quote);
    if quoted('\'') {
        let inner = text.get(1..text.len() - 1).unwrap_or_default();
        return json(inner).unwrap_or_else(|| Value::Text(inner.to_owned()));
    }
    if quoted('"') {
        return json(text).unwrap_or_else(|| Value::Text(text.to_owned()));
    }
    let mut plain = String::new();
    let mut is_escaped = false;
    for c in text.chars() {
        match c {
            ';' | '#' | '\\' if is_escaped => plain.push(c),
            _ if is_escaped => plain.extend(['\\', c]),
            ';' | '#' => break,
            '\\' => {
                is_escaped = true;
                continue;
            }
            _ => plain.push(c),
        }
        is_escaped = false;
    }
    if is_escaped {
        plain.push('\\');
    }
    Value::Text(trim(&plain).to_owned())
}

fn json(text: &str) -> Option<Value> {
    Some(match serde_json::from_str(text).ok()? {
        Json::String(text) => Value::Text(text),
        Json::Bool(flag) => Value::Flag(flag),
        Json::Null => Value::Null,
        Json::Number(number) => Value::Text(number.to_string()),
        Json::Array(_) | Json::Object(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn only(line: &str) -> Option<(String, Value)> {
        let mut settings = parse(line);
        assert!(settings.len() < 2, "{settings:?}");
        settings.pop()
    }

    #[test]
    fn a_line_is_a_key_and_a_value() {
        for (line, key, value) in [
            ("registry=https://a.example/", "registry", text("https://a.example/")),
            ("  registry =  https://a.example/  ", "registry", text("https://a.example/")),
            ("\u{feff}registry=x", "registry", text("x")),
            ("//a.example:8080/b/:_authToken=abc", "//a.example:8080/b/:_authToken", text("abc")),
            ("//a.example/:_auth = dXNlcjpwYXNz==", "//a.example/:_auth", text("dXNlcjpwYXNz==")),
            ("a=b ; said", "a", text("b")),
            ("a=b#said", "a", text("b")),
            (r"a=b\;c\#d\\e\f\", "a", text(r"b;c#d\e\f\")),
            (r#"a="b;c\n#d""#, "a", text("b;c\n#d")),
            ("a='b;c'", "a", text("b;c")),
            (r#"a="b"#, "a", text(r#""b"#)),
            (r#"a="b\x""#, "a", text(r#""b\x""#)),
            (r#""a=b""#, r#""a"#, text(r#"b""#)),
            ("'a' = '\"b\"'", "a", text("b")),
            ("a", "a", Value::Flag(true)),
            ("a=true", "a", Value::Flag(true)),
            ("a='false'", "a", Value::Flag(false)),
            ("a=null", "a", Value::Null),
            ("a=12", "a", text("12")),
            ("a=", "a", text("")),
            ("a[]=b", "a", Value::List(vec!["b".into()])),
            ("[]=b", "[]", text("b")),
            (" [a]", "[a]", Value::Flag(true)),
        ] {
            assert_eq!(only(line), Some((key.to_owned(), value)), "{line}");
        }
    }

    #[test]
    fn a_line_that_says_nothing_is_skipped() {
        for line in ["", "   ", "; a=b", "  # a=b", "=b", "[a]", "[a] \t"] {
            assert_eq!(only(line), None, "{line}");
        }
    }

    #[test]
    fn lists_grow_and_others_are_replaced() {
        let parsed = parse("a=1\r\na=2\nca[]=x\nca[]=y\nca=z\nb=1\nb[]=2\n");
        let list = |items: &[&str]| Value::List(items.iter().map(|&item| item.to_owned()).collect());
        let expected = [("a", text("2")), ("ca", list(&["x", "y", "z"])), ("b", list(&["1", "2"]))];
        assert_eq!(parsed, expected.map(|(key, value)| (key.to_owned(), value)));
    }

    #[test]
    fn a_section_ends_the_settings() {
        assert_eq!(parse("a=1\n[section]\nb=2\n"), [("a".to_owned(), text("1"))]);
    }
}
