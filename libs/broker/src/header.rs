//! Values of headers: what strangers wrote must not end a process, and the client panics at a line break.

/// The longest value, in characters.
const MAX: usize = 1000;

/// One line: no line breaks, no control characters, and not for ever.
pub(crate) fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_one_header_line() {
        assert_eq!(one_line("bad\r\nNats-Rollup: all\t "), "bad  Nats-Rollup: all");
        assert_eq!(one_line(&"x".repeat(5000)).len(), MAX);
    }
}
