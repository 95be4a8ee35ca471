//! What a registry says in words, made fit for one line of a log.

use serde_json::Value;

/// Characters of what a registry says that are shown.
const SHOWN: usize = 300;

/// What the body of an answer says: `error`, `reason` or `message` of JSON, or the first line of a text.
pub(crate) fn said(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let words = match serde_json::from_str::<Value>(&text) {
        Ok(value) => ["error", "reason", "message"].iter().find_map(|key| words(value.get(key)?))?,
        // A page for browsers.
        Err(_) if text.trim_start().starts_with('<') => return None,
        Err(_) => text.lines().map(str::trim).find(|line| !line.is_empty())?.to_owned(),
    };
    Some(line(&words))
}

fn words(value: &Value) -> Option<String> {
    let text =
        value.as_str().or_else(|| ["message", "summary", "reason"].iter().find_map(|key| value.get(key)?.as_str()));
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The same, short, and without characters that do anything to a terminal.
pub(crate) fn line(text: &str) -> String {
    let mut shown = String::new();
    for (index, c) in text.trim().chars().enumerate() {
        if index == SHOWN {
            shown.push('…');
            break;
        }
        if c.is_control() || is_directional(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Characters that turn the order of what is printed around.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_one_short_line() {
        for (body, expected) in [
            (r#"{"error": "no"}"#, Some("no")),
            (r#"{"error": {"message": "no"}}"#, Some("no")),
            (r#"{"error": "", "reason": "because"}"#, Some("because")),
            (r#"{"success": false, "message": "no\u001b[31m\n"}"#, Some("no\\u{1b}[31m")),
            ("\n  no way \r\nmore", Some("no way")),
            ("<html><body>no</body></html>", None),
            (r#"{"ok": 1}"#, None),
            (r#"[1]"#, None),
            ("", None),
        ] {
            assert_eq!(said(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!(said("x".repeat(1000).as_bytes()).unwrap().chars().count(), SHOWN + 1);
        assert_eq!(line("a\u{202e}b"), "a\\u{202e}b");
    }
}
