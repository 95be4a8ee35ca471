//! Errors that take more than one line.

use crate::Rank;

/// Lines that are waited for.
const LONGEST_WAIT: u8 = 12;

/// The title of an error whose message is to come.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    title: String,
    message: Message,
    /// Of the title alone, and of both.
    ranks: (Rank, Rank),
    left: u8,
}

/// Where the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// In the next line that is not empty.
    Next,
    /// The same, if it is indented.
    Indented,
    /// After `→` in the next line.
    Arrow,
    /// In the next line, which says where.
    Place,
    /// After `error:` in a block of YAML; or in the line after that.
    Yaml,
    /// After the rest of the title, which ends with a colon.
    Title,
    /// In the line of npm after this one of its words.
    Npm(&'static str),
}

/// What the next line means.
pub(crate) enum Next {
    Waits(Pending),
    /// Both are there, and the line is used up.
    Whole(Rank, String),
    /// There is no message, and the line is another one.
    Alone(Rank, String),
}

impl Pending {
    /// Of what a tool found.
    pub(crate) fn of_tool(title: &str, message: Message) -> Self {
        let ranks = (Rank::ToolTitle, Rank::Tool);
        Self { title: title.trim().to_owned(), message, ranks, left: LONGEST_WAIT }
    }

    /// Of what npm says.
    pub(crate) fn of_npm(title: &str, word: &'static str) -> Self {
        let ranks = (Rank::ManagerTitle, Rank::Manager);
        Self { title: title.trim().to_owned(), message: Message::Npm(word), ranks, left: 2 * LONGEST_WAIT }
    }

    /// Without a further line.
    pub(crate) fn end(self) -> Next {
        Next::Alone(self.ranks.0, self.title)
    }

    pub(crate) fn advance(mut self, line: &str) -> Next {
        let text = line.trim();
        let (title, whole) = (self.title.clone(), self.ranks.1);
        let with = |message: &str| match title.is_empty() {
            true => Next::Whole(whole, message.to_owned()),
            false => Next::Whole(whole, format!("{title}: {message}")),
        };
        if self.left == 0 {
            return self.end();
        }
        self.left -= 1;
        match self.message {
            Message::Npm(word) => match npm_words(line).and_then(|words| words.strip_prefix(word)) {
                Some(said) if !said.trim().is_empty() => with(said.trim()),
                // Its words stand in the next line.
                Some(_) => {
                    self.message = Message::Npm("");
                    Next::Waits(self)
                }
                None if npm_words(line).is_some() => Next::Waits(self),
                None => self.end(),
            },
            _ if text.is_empty() => Next::Waits(self),
            Message::Next => with(text),
            Message::Indented if line.starts_with(char::is_whitespace) && !is_mark(text) => with(text),
            Message::Arrow => match text.strip_prefix('→') {
                Some(message) => with(message.trim()),
                None => self.end(),
            },
            Message::Place => match place(text) {
                Some(place) => Next::Whole(whole, format!("{place}: {title}")),
                None => self.end(),
            },
            Message::Yaml => match text.strip_prefix("error:").map(str::trim) {
                Some("|-" | "|" | ">-" | ">") => {
                    self.message = Message::Next;
                    Next::Waits(self)
                }
                Some(message) => with(message.trim_matches(['\'', '"'])),
                None if text == "..." => self.end(),
                None => Next::Waits(self),
            },
            Message::Title => {
                match text.strip_suffix(':') {
                    Some(rest) => {
                        self.title = format!("{} {rest}", self.title);
                        self.message = Message::Next;
                    }
                    None => self.title = format!("{} {text}", self.title),
                }
                Next::Waits(self)
            }
            Message::Indented => self.end(),
        }
    }
}

/// What npm says in a line of its own.
pub(crate) fn npm_words(line: &str) -> Option<&str> {
    let words = line.strip_prefix("npm error").or_else(|| line.strip_prefix("npm ERR!"))?;
    (words.is_empty() || words.starts_with(' ')).then(|| words.trim())
}

/// Whether a line is one of a list of tests.
fn is_mark(text: &str) -> bool {
    text.starts_with(['✔', '✖', '▶', 'ℹ'])
}

/// `src/index.ts:1:2` of `src/index.ts:1:2:`.
fn place(text: &str) -> Option<&str> {
    let place = text.strip_suffix(':')?;
    let mut parts = place.rsplitn(3, ':');
    let mut is_number =
        || parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    (is_number() && is_number()).then_some(place)
}
