//! What builds and strangers print, made fit for a terminal: colours at most, nothing that moves or names.

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

/// Colours that are on for longer than this are forgotten.
const MOST_STYLE: usize = 64;

/// Cleans lines, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cleaner {
    /// Whether colours stay.
    colours: bool,
    /// What is on at the end of the last line.
    style: String,
}

impl Cleaner {
    /// With colours, or without.
    pub(crate) fn new(colours: bool) -> Self {
        Self { colours, style: String::new() }
    }

    /// A line without its end. Of what a carriage return has overwritten the last is left, as on a terminal.
    /// Colours that are on are switched off at its end, and on again in the next.
    pub(crate) fn line(&mut self, line: &[u8]) -> String {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\r');
        let text = text.rsplit('\r').next().unwrap_or(text);
        let mut writing = Writing { text: self.style.clone(), colours: self.colours, style: &mut self.style };
        let mut parser = Parser::<DefaultCharAccumulator>::new();
        for byte in text.bytes() {
            parser.advance(&mut writing, byte);
        }
        let Writing { mut text, .. } = writing;
        if !self.style.is_empty() {
            text.push_str("\x1b[0m");
        }
        text
    }
}

struct Writing<'a> {
    text: String,
    colours: bool,
    style: &'a mut String,
}

impl Perform for Writing<'_> {
    fn print(&mut self, c: char) {
        if !c.is_control() {
            self.text.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            self.text.push('\t');
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if action != b'm' || ignore || !intermediates.is_empty() || !self.colours {
            return;
        }
        let numbers = params.iter().map(|group| group.iter().map(u16::to_string).collect::<Vec<_>>().join(":"));
        let sequence = format!("\x1b[{}m", numbers.collect::<Vec<_>>().join(";"));
        let off = matches!(sequence.as_str(), "\x1b[m" | "\x1b[0m");
        if off || self.style.len() > MOST_STYLE {
            self.style.clear();
        }
        if !off {
            self.style.push_str(&sequence);
        }
        self.text.push_str(&sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(line: &[u8]) -> (String, String) {
        (Cleaner::new(true).line(line), Cleaner::new(false).line(line))
    }

    #[test]
    fn colours_stay_on_a_terminal_and_go_elsewhere() {
        let (terminal, file) = both(b"\x1b[1;31mred\x1b[0m and \x1b[38;5;82mgreen\x1b[m\tend");
        assert_eq!(terminal, "\x1b[1;31mred\x1b[0m and \x1b[38;5;82mgreen\x1b[0m\tend");
        assert_eq!(file, "red and green\tend");
    }

    #[test]
    fn what_moves_the_cursor_or_names_the_window_or_asks_goes_everywhere() {
        for hostile in [
            &b"a\x1b[2Jb"[..],
            b"a\x1b[10;10Hb",
            b"a\x1b]0;title\x07b",
            b"a\x1b]52;c;ZXZpbA==\x1b\\b",
            b"a\x1bP+q544e\x1b\\b",
            b"a\x1b[6nb",
            b"a\x1b[?1049hb",
            b"a\x1bcb",
            b"a\x08\x07\x00\x0e\x7fb",
            "a\u{9b}2Jb".as_bytes(),
            b"a\x1b[>4;1mb",
        ] {
            let (terminal, file) = both(hostile);
            assert!(terminal == file && terminal.starts_with('a') && terminal.ends_with('b'), "{terminal:?}");
            assert!(!terminal.chars().any(char::is_control), "{terminal:?}");
        }
    }

    #[test]
    fn a_colour_that_stays_on_ends_with_its_line_and_goes_on_in_the_next() {
        let mut cleaner = Cleaner::new(true);
        assert_eq!(cleaner.line(b"\x1b[31mone"), "\x1b[31mone\x1b[0m");
        assert_eq!(cleaner.line(b"two\x1b[0m"), "\x1b[31mtwo\x1b[0m");
        assert_eq!(cleaner.line(b"three"), "three");
    }

    #[test]
    fn of_a_progress_bar_the_last_is_left_and_bad_bytes_are_shown_as_such() {
        assert_eq!(both(b"\r 10%\r 50%\r100%\r\r").1, "100%");
        assert_eq!(both(b"windows\r").1, "windows");
        assert_eq!(both(b"\xff\xfe ok").1, "\u{fffd}\u{fffd} ok");
    }
}
