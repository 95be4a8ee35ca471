//! The tokens of a script, without recursion: a script of any depth is read on a stack of any size.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// A string without escapes.
    Text,
    /// A string with escapes, a template or a regular expression.
    Value,
    /// Brackets, punctuation and operators.
    Sign,
}

/// A token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    /// As it is written, a string without its quotes.
    pub(super) text: &'s str,
    /// Whether it is the first of its line.
    pub(super) first: bool,
}

impl Token<'_> {
    /// Whether an expression may end here.
    pub(super) fn ends(&self) -> bool {
        const GO_ON: [&str; 17] = [
            "await",
            "case",
            "delete",
            "do",
            "else",
            "extends",
            "from",
            "import",
            "in",
            "instanceof",
            "new",
            "of",
            "return",
            "throw",
            "typeof",
            "void",
            "yield",
        ];
        match self.kind {
            Kind::Word => !GO_ON.contains(&self.text),
            Kind::Text | Kind::Value => true,
            Kind::Sign => [")", "]", "}"].contains(&self.text),
        }
    }
}

/// The tokens of a script; `None` where it is not understood, or some bracket does not match.
pub(super) fn of(script: &str) -> Option<Vec<Token<'_>>> {
    let mut reader = Reader { script, at: 0, tokens: Vec::new(), open: Vec::new(), first: true };
    if script.starts_with("#!") {
        reader.line();
    }
    while let Some(next) = reader.peek() {
        reader.token(next)?;
    }
    reader.open.is_empty().then_some(reader.tokens)
}

struct Reader<'s> {
    script: &'s str,
    at: usize,
    tokens: Vec<Token<'s>>,
    /// What closes each bracket that is open; a backquote for `${`.
    open: Vec<u8>,
    first: bool,
}

impl<'s> Reader<'s> {
    fn peek(&self) -> Option<u8> {
        self.script.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'s str {
        self.script.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, from: usize, to: usize) -> Option<()> {
        self.tokens.push(Token { kind, text: self.script.get(from..to)?, first: self.first });
        self.first = false;
        Some(())
    }

    /// To the end of the line.
    fn line(&mut self) {
        self.at += self.rest().find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(self.rest().len());
    }

    fn token(&mut self, next: u8) -> Option<()> {
        let from = self.at;
        let rest = self.rest();
        match next {
            b'\n' | b'\r' => {
                self.first = true;
                self.at += 1;
            }
            b' ' | b'\t' | 0x0b | 0x0c => self.at += 1,
            b'/' if rest.starts_with("//") => self.line(),
            b'/' if rest.starts_with("/*") => {
                let end = rest.get(2..)?.find("*/")? + 4;
                self.first |= rest.get(..end)?.contains('\n');
                self.at += end;
            }
            b'/' if !self.tokens.last().is_some_and(Token::ends) => self.regex()?,
            b'"' | b'\'' => self.string(next)?,
            b'`' => {
                self.at += 1;
                self.template()?;
            }
            b'(' | b'[' | b'{' => {
                self.open.push(match next {
                    b'(' => b')',
                    b'[' => b']',
                    _ => b'}',
                });
                self.at += 1;
                self.push(Kind::Sign, from, self.at)?;
            }
            b'}' if self.open.last() == Some(&b'`') => {
                self.open.pop();
                self.at += 1;
                self.push(Kind::Sign, from, self.at)?;
                self.template()?;
            }
            b')' | b']' | b'}' => {
                (self.open.pop() == Some(next)).then_some(())?;
                self.at += 1;
                self.push(Kind::Sign, from, self.at)?;
            }
            b'=' | b'<' | b'>' | b'!' | b'&' | b'|' | b'?' | b'+' | b'-' | b'*' | b'%' | b'^' | b'~' => {
                self.at += rest.find(|c| !"=<>!&|?+-*%^~".contains(c)).unwrap_or(rest.len());
                self.push(Kind::Sign, from, self.at)?;
            }
            _ if is_of_word(next) => {
                self.at += rest.bytes().position(|byte| !is_of_word(byte)).unwrap_or(rest.len());
                // A byte order mark and odd spaces are no names.
                match rest.get(..self.at - from)?.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}') {
                    "" => {}
                    word => self.push(Kind::Word, self.at - word.len(), self.at)?,
                }
            }
            _ => {
                self.at += 1;
                self.push(Kind::Sign, from, self.at)?;
            }
        }
        Some(())
    }

    fn string(&mut self, quote: u8) -> Option<()> {
        let from = self.at + 1;
        let mut kind = Kind::Text;
        self.at = from;
        loop {
            match self.peek()? {
                b'\\' => {
                    kind = Kind::Value;
                    self.at += 2;
                }
                b'\n' => return None,
                byte if byte == quote => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.push(kind, from, self.at - 1)
    }

    /// From behind a backquote or a `}` to the next `${` or the end.
    fn template(&mut self) -> Option<()> {
        let from = self.at;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'`' => {
                    self.at += 1;
                    return self.push(Kind::Value, from, self.at);
                }
                b'$' if self.rest().starts_with("${") => {
                    self.open.push(b'`');
                    self.at += 2;
                    return self.push(Kind::Sign, self.at - 2, self.at);
                }
                _ => self.at += 1,
            }
        }
    }

    fn regex(&mut self) -> Option<()> {
        let from = self.at;
        let mut in_class = false;
        loop {
            self.at += 1;
            match self.peek()? {
                b'\\' => self.at += 1,
                b'\n' => return None,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => break,
                _ => {}
            }
        }
        self.at += 1;
        self.push(Kind::Value, from, self.at)
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}
