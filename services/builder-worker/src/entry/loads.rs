//! What a script loads at once whenever it is loaded, by a relative path that stands there as it is.
//!
//! No parser of a crate is used: those that there are overflow the stack, and so end the worker with all its builds,
//! on scripts that are nested deeply enough. This looks at tokens, and counts what it is not sure of as not loaded.

use super::tokens::{self, Kind, Token};

/// What has parts that are run at another time or not at all.
const CONDITIONAL: [&str; 15] = [
    "async", "case", "catch", "class", "do", "else", "finally", "for", "function", "if", "switch", "try", "while",
    "with", "yield",
];
/// What may begin a statement where the line before it has no semicolon.
const BEGIN: [&str; 9] = ["const", "let", "var", "import", "export", "module", "exports", "require", "function"];

/// The relative paths that a script loads. Nothing of one that is not understood.
pub(super) fn of(text: &str) -> Vec<String> {
    // Most bundles have no such path.
    let may_load = ["'.", "\"."].iter().any(|begin| text.contains(begin));
    let Some(tokens) = Some(text).filter(|_| may_load).and_then(tokens::of) else { return Vec::new() };
    let mut script = Script { tokens: &tokens, imports: Vec::new(), requires: Vec::new() };
    script.read();
    if (0..tokens.len()).any(|at| script.is_own_require(at)) {
        script.requires.clear();
    }
    let loaded = script.imports.into_iter().chain(script.requires);
    // A query or the loader of a bundler is no part of a path.
    loaded.filter(|path| is_relative(path) && !path.contains(['?', '#', '!', '%', '\\'])).map(str::to_owned).collect()
}

fn is_relative(path: &str) -> bool {
    path == "." || path == ".." || path.starts_with("./") || path.starts_with("../")
}

struct Script<'s> {
    tokens: &'s [Token<'s>],
    imports: Vec<&'s str>,
    requires: Vec<&'s str>,
}

/// A statement that is not in a block.
#[derive(Default)]
struct Statement {
    /// Whether it begins with what ends with a `}`, such as `if`.
    is_block: bool,
    /// Whether the rest of it may not be run.
    unsure: bool,
}

impl<'s> Script<'s> {
    fn read(&mut self) {
        let mut open: Vec<bool> = Vec::new();
        let (mut statement, mut begins, mut ended) = (Statement::default(), true, false);
        for (at, token) in self.tokens.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| self.tokens.get(before));
            let outside = open.is_empty();
            let after_line = token.first && before.is_some_and(Token::ends) && BEGIN.contains(&token.text);
            if outside && (begins || after_line && token.kind == Kind::Word && !statement.is_block) {
                let is_block = token.kind == Kind::Word && CONDITIONAL.contains(&token.text);
                // What goes on behind a `}` belongs to something that began before it.
                let goes_on = before.is_some_and(|before| before.text == "}") && token.kind == Kind::Sign;
                statement = Statement { is_block, unsure: is_block || goes_on && token.text != ";" };
                self.import(at);
            }
            begins = false;
            match (token.kind, token.text) {
                (Kind::Sign, "(" | "[" | "{" | "${") => {
                    open.push(token.text != "${" && self.is_of_expression(at, &open))
                }
                (Kind::Sign, ")" | "]" | "}") => {
                    open.pop();
                    let next_begins = statement.unsure && self.is_word(at + 1, |next| BEGIN.contains(&next));
                    begins = open.is_empty() && token.text == "}" && (statement.is_block || next_begins);
                }
                (Kind::Sign, ";") if outside => begins = true,
                (Kind::Sign, ":") => statement.unsure |= outside,
                (Kind::Sign, sign) => {
                    statement.unsure |= ["&&", "||", "?", "=>"].iter().any(|part| sign.contains(part));
                }
                (Kind::Word, word) if !self.is_property(at) => {
                    statement.unsure |= CONDITIONAL.contains(&word);
                    // What follows may be for another case.
                    ended |= word == "return" && (outside || statement.is_block)
                        || word == "throw" && outside && !statement.unsure;
                    if word == "require" && !statement.unsure && !ended && open.iter().all(|sure| *sure) {
                        self.requires.extend(self.argument(at));
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether a bracket is one of an expression, all parts of which are evaluated, and no block.
    fn is_of_expression(&self, at: usize, open: &[bool]) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.tokens.get(before)).map_or("", |before| before.text);
        match self.tokens.get(at).map_or("", |token| token.text) {
            "{" => ["=", "(", ",", "["].contains(&before) || before == ":" && !open.is_empty(),
            _ => true,
        }
    }

    /// Whether a word is a name behind a dot.
    fn is_property(&self, at: usize) -> bool {
        let is = |at: Option<usize>, sign| {
            at.and_then(|at| self.tokens.get(at)).is_some_and(|token| token.kind == Kind::Sign && token.text == sign)
        };
        let spread = is(at.checked_sub(2), ".") && is(at.checked_sub(3), ".");
        is(at.checked_sub(1), ".") && !spread
    }

    fn is_word(&self, at: usize, is: impl Fn(&str) -> bool) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Word && is(token.text))
    }

    /// The only argument of a call, where it is a string without escapes.
    fn argument(&self, at: usize) -> Option<&'s str> {
        match self.tokens.get(at + 1..at + 4)? {
            [open, only, close] if open.text == "(" && close.text == ")" && only.kind == Kind::Text => Some(only.text),
            _ => None,
        }
    }

    /// `import 'x'`, `import … from 'x'`, `export … from 'x'`, where such a statement begins here.
    fn import(&mut self, at: usize) {
        let Some([first, rest @ ..]) = self.tokens.get(at..) else { return };
        if first.kind != Kind::Word || !["import", "export"].contains(&first.text) {
            return;
        }
        let is_import = first.text == "import";
        // Of Flow: gone before it is run.
        if rest.first().is_some_and(|next| ["type", "typeof"].contains(&next.text))
            && rest.get(1).is_some_and(|next| next.text != "from" && next.text != ",")
        {
            return;
        }
        let starts_list = |token: &Token<'_>| token.kind == Kind::Sign && ["{", "*"].contains(&token.text);
        match rest {
            [path, ..] if is_import && path.kind == Kind::Text => self.imports.push(path.text),
            [next, ..] if starts_list(next) || is_import && next.kind == Kind::Word => {
                // Up to the next statement at most: each token is looked at once.
                let from = rest.windows(2).take_while(|pair| {
                    pair.first().is_some_and(|token| match token.kind {
                        Kind::Sign => ["{", "}", ",", "*"].contains(&token.text),
                        Kind::Word => !["import", "export"].contains(&token.text),
                        kind => kind != Kind::Value,
                    })
                });
                let path = from.filter_map(|pair| match pair {
                    [from, path] if from.text == "from" && from.kind == Kind::Word && path.kind == Kind::Text => {
                        Some(path)
                    }
                    _ => None,
                });
                self.imports.extend(path.map(|path| path.text).next());
            }
            _ => {}
        }
    }

    /// Whether a script has a `require` of its own.
    fn is_own_require(&self, at: usize) -> bool {
        let text = |at: Option<usize>| at.and_then(|at| self.tokens.get(at)).map_or("", |token| token.text);
        let (before, after) = (text(at.checked_sub(1)), text(Some(at + 1)));
        self.is_word(at, |word| word == "require")
            && !self.is_property(at)
            && (["function", "const", "let", "var", "import", "as"].contains(&before)
                || ["=", "}", ","].contains(&after))
    }
}
