//! The cause of a failure in what a command printed: the first error of a tool that is known, else the first line that
//! looks like one, else the last line.
//!
//! [`Finder`] takes all lines of a command, one after the other, and keeps one of them.

mod pending;
mod rules;

use std::borrow::Cow;

use pending::{Next, Pending};

/// Characters of a cause; the rest of a longer one is cut off.
const LONGEST: usize = 400;

/// How well a line tells the cause; of two the better, and the first of two that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A line that looks like an error.
    Error,
    /// What a package manager says first.
    ManagerTitle,
    /// What a package manager says of the cause.
    Manager,
    /// The error by which a Node process ended.
    Uncaught,
    /// What a known tool found, without its message.
    ToolTitle,
    /// What a known tool found.
    Tool,
}

/// Finds the cause of a failure in the lines of a command.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    best: Option<(Rank, String)>,
    pending: Option<Pending>,
    /// The file whose problems a linter lists.
    file: Option<String>,
    /// What npm gave as its code.
    npm_code: Option<String>,
    /// The last line that looks like an error.
    error: Option<String>,
    last: String,
    /// The first line of npm.
    of_npm: Option<String>,
    /// mocha has begun to list what failed.
    is_mocha: bool,
}

impl Finder {
    /// Takes the next line, without its end and without escape sequences: see [`plain`].
    pub fn line(&mut self, line: &str) {
        // Nothing that follows is better, and most lines of a long output say nothing.
        if self.best.as_ref().is_some_and(|(rank, _)| *rank == Rank::Tool) {
            return;
        }
        let line = line.trim_end();
        if let Some(pending) = self.pending.take() {
            match pending.advance(line) {
                Next::Waits(pending) => {
                    self.pending = Some(pending);
                    return;
                }
                Next::Whole(rank, cause) => return self.found(rank, &cause),
                Next::Alone(rank, title) => self.found(rank, &title),
            }
        }
        if rules::may_tell(line) {
            rules::read(self, line);
        } else {
            self.note_last(line);
        }
    }

    /// Remembers a line as the last one, unless it shows a command or is empty.
    fn note_last(&mut self, line: &str) {
        let text = line.trim_start();
        if !text.is_empty() && !text.starts_with('#') && !line.starts_with("> ") && !line.starts_with("$ ") {
            self.last.clear();
            self.last.push_str(text);
        }
    }

    /// The cause, in one line; `None` where nothing was printed that could be one.
    pub fn cause(mut self) -> Option<String> {
        if let Some(Next::Alone(rank, title)) = self.pending.take().map(Pending::end) {
            self.found(rank, &title);
        }
        let best = self.best.map(|(_, cause)| cause);
        best.or_else(|| Some(short(&self.last)).filter(|last| !last.is_empty())).or(self.of_npm)
    }

    fn found(&mut self, rank: Rank, cause: &str) {
        if self.best.as_ref().is_none_or(|(best, _)| *best < rank) {
            self.best = Some((rank, short(cause)));
        }
    }
}

fn short(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

/// A line as a person sees it: without escape sequences, and what a carriage return has overwritten.
pub fn plain(line: &str) -> Cow<'_, str> {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    match line.bytes().any(|byte| byte < b' ' && byte != b'\t') {
        true => Cow::Owned(anstream::adapter::strip_str(line).to_string()),
        false => Cow::Borrowed(line),
    }
}
