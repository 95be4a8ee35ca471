//! Progress: lines that move on a terminal, else a new line for each change.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::row::Row;

/// Room that most terminals have.
const WIDTH: usize = 100;

/// Where progress goes.
pub(crate) enum Progress {
    /// A terminal: one line for each package, drawn anew.
    Terminal { screen: MultiProgress, lines: Vec<ProgressBar> },
    /// Anything else: what changed, as lines.
    Plain { shown: Vec<Row> },
}

impl Progress {
    /// As stdout allows.
    pub(crate) fn on_stdout() -> Self {
        if io::stdout().is_terminal() {
            let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(10));
            Self::Terminal { screen, lines: Vec::new() }
        } else {
            Self::Plain { shown: Vec::new() }
        }
    }

    /// Shows how things stand.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(crate) fn show(&mut self, rows: Vec<Row>) -> io::Result<()> {
        match self {
            Self::Terminal { screen, lines } => {
                while lines.len() < rows.len() {
                    lines.push(screen.add(ProgressBar::new_spinner()));
                }
                for (bar, row) in lines.iter().zip(&rows) {
                    let template = if row.state == "building" { "{spinner} {msg}" } else { "  {msg}" };
                    if let Ok(style) = ProgressStyle::with_template(template) {
                        bar.set_style(style);
                    }
                    bar.set_message(row.line(WIDTH));
                    bar.tick();
                }
                Ok(())
            }
            Self::Plain { shown } => {
                let mut out = io::stdout().lock();
                for line in changes(shown, &rows) {
                    writeln!(out, "{line}")?;
                }
                *shown = rows;
                out.flush()
            }
        }
    }

    /// Says a line above what moves.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Terminal { screen, .. } => screen.println(line),
            Self::Plain { .. } => {
                let mut out = io::stdout().lock();
                writeln!(out, "{line}")?;
                out.flush()
            }
        }
    }

    /// Takes the moving lines away; what comes now is for good.
    pub(crate) fn finish(self) {
        if let Self::Terminal { screen, lines } = self {
            for bar in lines {
                bar.finish_and_clear();
            }
            let _ = screen.clear();
        }
    }
}

/// The lines of those rows that differ from what was shown.
fn changes(shown: &[Row], rows: &[Row]) -> Vec<String> {
    let shown: BTreeMap<&str, &Row> = shown.iter().map(|row| (row.name.as_str(), row)).collect();
    let changed = rows.iter().filter(|row| {
        let before = shown.get(row.name.as_str());
        before.map_or(row.state != "not announced", |before| row.differs(before))
    });
    changed.map(|row| row.line(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(name: &str, state: &'static str, seconds: u64) -> Row {
        Row {
            name: name.into(),
            state,
            reason: String::new(),
            attempt: 1,
            worker: "host-1".into(),
            phase: "test".into(),
            elapsed: Some(Duration::from_secs(seconds)),
        }
    }

    #[test]
    fn without_a_terminal_only_what_changed_is_a_new_line() {
        let before = [row("@demo/a", "building", 1), row("@demo/b", "queued", 0)];
        assert_eq!(changes(&[], &before).len(), 2);
        assert_eq!(changes(&before, &[row("@demo/a", "building", 9), row("@demo/b", "queued", 0)]).len(), 0);
        let after = changes(&before, &[row("@demo/a", "published", 9), row("@demo/b", "queued", 0)]);
        assert_eq!(after, ["@demo/a       published     attempt 1   9.0 s  test, host-1"]);
    }
}
