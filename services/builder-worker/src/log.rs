//! What a phase prints, on its way to the log: whole lines, with tokens blanked.
//!
//! Bytes stay as they are, NUL and what is not UTF-8 included; only a line that goes on for longer than 16 KiB
//! is broken into several.

mod journal;
pub mod limit;

use std::collections::VecDeque;

use aho_corasick::{AhoCorasick, MatchKind};
use bytes::Bytes;
use packline_cause::{Finder, plain};

use crate::error_code::error_code;

pub(crate) use journal::Journal;

/// A line that goes on for longer is broken.
const LONGEST_LINE: usize = 16 * 1024;
/// Lines at the end of the output that an error quotes, and their bytes.
const TAIL_LINES: usize = 60;
const TAIL_LINE: usize = 400;
/// Of a command whose output is read.
const CAPTURE_LIMIT: usize = 4 * 1024 * 1024;
/// Anything shorter would blank half of every line.
const SHORTEST_SECRET: usize = 6;

/// Where lines go: the phase, and one line or several.
pub type Sink = Box<dyn Fn(&str, Bytes) + Send + Sync>;

/// Blanks secrets.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    secrets: Option<AhoCorasick>,
    longest: usize,
}

impl Redactor {
    /// Blanks these wherever they stand.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets: Vec<&str> = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET).collect();
        let longest = secrets.iter().map(|secret| secret.len()).max().unwrap_or(0);
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&secrets);
        Self { secrets: finder.ok().filter(|_| longest > 0), longest }
    }

    /// The same text without them.
    pub fn blank(&self, text: &[u8]) -> Vec<u8> {
        let Some(secrets) = &self.secrets else { return text.to_vec() };
        let mut blanked = Vec::with_capacity(text.len());
        secrets.replace_all_with_bytes(text, &mut blanked, |_, _, target| {
            target.extend_from_slice(b"***");
            true
        });
        blanked
    }
}

impl Redactor {
    /// The last place up to `cut` that is not within a secret.
    fn cut_before(&self, text: &[u8], cut: usize) -> usize {
        let Some(secrets) = &self.secrets else { return cut };
        secrets
            .find_iter(text)
            .find(|found| found.start() < cut && cut < found.end())
            .map_or(cut, |found| found.start())
    }
}

/// The output of one command, cut into lines.
pub struct Output<'a> {
    phase: &'a str,
    redactor: &'a Redactor,
    sink: &'a Sink,
    rest: Vec<u8>,
    tail: VecDeque<String>,
    capture: Option<String>,
    code: Option<String>,
    finder: Finder,
}

/// What is remembered of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// Its last lines.
    pub tail: String,
    /// All of it, where that was asked for.
    pub captured: String,
    /// The first error code of a package manager in it.
    pub code: Option<String>,
    /// The line of it that says why the command failed, if it did.
    pub cause: Option<String>,
}

impl<'a> Output<'a> {
    /// Lines go to `sink` as those of `phase`; with `capture` they are kept as well.
    pub fn new(phase: &'a str, redactor: &'a Redactor, sink: &'a Sink, capture: bool) -> Self {
        let capture = capture.then(String::new);
        Self {
            phase,
            redactor,
            sink,
            rest: Vec::new(),
            tail: VecDeque::new(),
            capture,
            code: None,
            finder: Finder::default(),
        }
    }

    /// Takes what came, and passes on the lines that are whole.
    pub fn push(&mut self, chunk: &[u8]) {
        self.rest.extend_from_slice(chunk);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        // A line without end is cut where no secret can be.
        let cut = if self.rest.len() - whole > LONGEST_LINE + self.redactor.longest {
            character(&self.rest, self.redactor.cut_before(&self.rest, self.rest.len() - self.redactor.longest))
        } else {
            whole
        };
        if cut > 0 {
            let lines: Vec<u8> = self.rest.drain(..cut).collect();
            self.pass_on(&lines);
        }
    }

    /// Passes on what came without a line's end, and tells what is remembered.
    pub fn finish(mut self) -> Printed {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.pass_on(&rest);
        }
        let tail = Vec::from(self.tail).join("\n");
        Printed { tail, captured: self.capture.unwrap_or_default(), code: self.code, cause: self.finder.cause() }
    }

    fn pass_on(&mut self, lines: &[u8]) {
        let blanked = self.redactor.blank(lines.strip_suffix(b"\n").unwrap_or(lines));
        let text = String::from_utf8_lossy(&blanked);
        for line in text.lines() {
            let line = &*plain(line);
            self.finder.line(line);
            if self.code.is_none() {
                self.code = error_code(line).map(Into::into);
            }
            if !line.trim().is_empty() {
                self.tail.push_back(line.chars().take(TAIL_LINE).collect());
            }
            if self.tail.len() > TAIL_LINES {
                self.tail.pop_front();
            }
        }
        if let Some(capture) = &mut self.capture
            && capture.len() + text.len() <= CAPTURE_LIMIT
        {
            capture.push_str(&text);
            capture.push('\n');
        }
        drop(text);
        (self.sink)(self.phase, blanked.into());
    }
}

/// The last place up to `cut` that is not within a character of UTF-8.
fn character(text: &[u8], cut: usize) -> usize {
    let begins = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0b1100_0000 != 0b1000_0000);
    let Some(last) = (cut.saturating_sub(4)..cut).rev().find(begins) else { return cut };
    let size = match text.get(last) {
        Some(0b1100_0000..0b1110_0000) => 2,
        Some(0b1110_0000..0b1111_0000) => 3,
        Some(0b1111_0000..0b1111_1000) => 4,
        _ => 1,
    };
    if last + size > cut { last } else { cut }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn printed(secrets: &[&str], chunks: &[&[u8]]) -> (Vec<String>, Printed) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let sink: Sink = Box::new(move |_, text| kept.lock().unwrap().push(String::from_utf8(text.to_vec()).unwrap()));
        let redactor = Redactor::new(secrets.iter().copied());
        let mut output = Output::new("test", &redactor, &sink, true);
        for chunk in chunks {
            output.push(chunk);
        }
        let printed = output.finish();
        let lines = lines.lock().unwrap().clone();
        (lines, printed)
    }

    #[test]
    fn lines_are_passed_on_when_they_are_whole() {
        let (lines, printed) = printed(&[], &[b"one\ntw", b"o\n", b"npm error code E404\nlast"]);
        assert_eq!(lines, ["one", "two", "npm error code E404", "last"]);
        assert_eq!(printed.captured, "one\ntwo\nnpm error code E404\nlast\n");
        assert_eq!(printed.code.as_deref(), Some("E404"));
    }

    #[test]
    fn a_line_that_goes_on_is_broken_between_characters() {
        let line = "äöü€".repeat(20_000);
        let chunks: Vec<&[u8]> = line.as_bytes().chunks(1 << 16).collect();
        let (lines, _) = printed(&[], &chunks);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() > LONGEST_LINE), "{}", lines.len());
        assert_eq!(lines.concat(), line);
    }

    #[test]
    fn tokens_are_blanked_however_the_output_is_cut() {
        let line = format!("{}s3cret-token end", "x".repeat(LONGEST_LINE));
        let secret = "s3cret-token";
        for cut in [LONGEST_LINE, LONGEST_LINE + 5, LONGEST_LINE + 12] {
            let (head, tail) = line.as_bytes().split_at(cut);
            let (lines, printed) = printed(&[secret], &[head, tail, &[b'y'; LONGEST_LINE], b"\ns3cret-token\n"]);
            assert!(!lines.concat().contains("s3cret"), "{cut}");
            assert!(!printed.captured.contains("s3cret") && !printed.tail.contains("s3cret"));
        }
    }

    #[test]
    fn what_is_too_short_to_be_a_token_blanks_nothing() {
        assert_eq!(Redactor::new(["a"]).blank(b"banana"), b"banana");
    }
}
