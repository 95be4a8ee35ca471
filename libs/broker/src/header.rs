//! Values of headers: what strangers wrote must not end a process, and the client panics at a line break.

/// The longest value, in characters.
const MAX: usize = 1000;

/// The text as a value, which is one line: no line breaks, no control characters, and not for ever.
pub(crate) fn value(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_one_line() {
        assert_eq!(value("bad\r\nNats-Rollup: all\t "), "bad  Nats-Rollup: all");
        assert_eq!(value(&"x".repeat(5000)).len(), MAX);
    }
}
