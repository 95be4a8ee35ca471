//! What is wrong with a recipe, and where.

use std::fmt;

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// Characters from the start of the line, from 1.
    pub column: usize,
    /// What is wrong; what would be right.
    pub what: String,
}

impl Problem {
    /// At this byte of the text.
    pub(crate) fn at(text: &str, offset: usize, what: String) -> Self {
        Self::behind(text.get(..offset).unwrap_or(text), what)
    }

    /// Right after this text.
    pub(crate) fn behind(text: &str, what: String) -> Self {
        let line = text.rsplit('\n').next().unwrap_or_default();
        let line_start = line.strip_prefix('\u{feff}').unwrap_or(line);
        Self { line: text.matches('\n').count() + 1, column: line_start.chars().count() + 1, what }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}
