//! The grammar.

use serde_json::{Map, Number, Value};

use crate::{JsonError, MAX_DEPTH};

pub(crate) fn parse(text: &str) -> Result<Value, JsonError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    parser.skip_space();
    if parser.rest().is_empty() {
        return Err(parser.error("there is no JSON"));
    }
    let value = parser.value()?;
    parser.skip_space();
    if parser.rest().is_empty() { Ok(value) } else { Err(parser.expected("the end of the document")) }
}

struct Parser<'a> {
    text: &'a str,
    /// Bytes that are read; always between two characters.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        self.at += self.rest().bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn error(&self, problem: impl Into<String>) -> JsonError {
        let read = self.text.get(..self.at).unwrap_or_default();
        let line = read.rsplit('\n').next().unwrap_or_default();
        JsonError {
            problem: problem.into(),
            line: read.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }

    fn expected(&self, what: &str) -> JsonError {
        match self.next() {
            Some(found) => self.error(format!("expected {what}, found {found:?}")),
            None => self.error(format!("expected {what}, found the end of the document")),
        }
    }

    fn value(&mut self) -> Result<Value, JsonError> {
        match self.next() {
            Some('{') => self.nested(Self::object),
            Some('[') => self.nested(Self::array),
            Some('"') => self.string().map(Value::String),
            Some('-' | '0'..='9') if !self.rest().starts_with("-I") => self.number(),
            _ => self.word(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, JsonError>) -> Result<Value, JsonError> {
        if self.depth == MAX_DEPTH {
            return self.skip().map(|()| Value::Null);
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Skips an array or object without a call for each level.
    fn skip(&mut self) -> Result<(), JsonError> {
        let mut ends = Vec::new();
        loop {
            match self.next() {
                Some('"') => {
                    self.string()?;
                    continue;
                }
                Some('{') => ends.push('}'),
                Some('[') => ends.push(']'),
                Some(found @ ('}' | ']')) if ends.last() == Some(&found) => {
                    ends.pop();
                }
                Some(found) if !matches!(found, '}' | ']') => self.at += found.len_utf8() - 1,
                _ => return Err(self.expected(&ends.last().map(|end| format!("`{end}`")).unwrap_or_default())),
            }
            self.at += 1;
            if ends.is_empty() {
                return Ok(());
            }
        }
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        let mut fields = Map::new();
        if self.take("}") {
            return Ok(Value::Object(fields));
        }
        loop {
            if self.next() != Some('"') {
                return Err(self.expected("a key in double quotes"));
            }
            let key = self.string()?;
            self.skip_space();
            if !self.take(":") {
                return Err(self.expected("`:`"));
            }
            self.skip_space();
            let value = self.value()?;
            fields.insert(key, value);
            self.skip_space();
            if self.take("}") {
                return Ok(Value::Object(fields));
            }
            if !self.take(",") {
                return Err(self.expected("`,` or `}`"));
            }
            self.skip_space();
        }
    }

    fn array(&mut self) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        if self.take("]") {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_space();
            if self.take("]") {
                return Ok(Value::Array(items));
            }
            if !self.take(",") {
                return Err(self.expected("`,` or `]`"));
            }
            self.skip_space();
        }
    }

    fn word(&mut self) -> Result<Value, JsonError> {
        let words = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Null),
            ("Infinity", Value::Null),
            ("-Infinity", Value::Null),
        ];
        let found = words.into_iter().find(|(word, _)| self.take(word));
        found.map(|(_, value)| value).ok_or_else(|| self.expected("a value"))
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.take("-");
        if !self.take("0") {
            self.digits()?;
        }
        let mut is_whole = true;
        if self.take(".") {
            is_whole = false;
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            is_whole = false;
            let _ = self.take("+") || self.take("-");
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let whole = match text {
            // as a whole number it would lose its sign
            "-0" => None,
            _ if !is_whole => None,
            _ => text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok(),
        };
        let number = whole.or_else(|| text.parse().ok().and_then(Number::from_f64));
        Ok(number.map_or(Value::Null, Value::Number))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        if count == 0 { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            text.push_str(rest.get(..end).unwrap_or_default());
            self.at += end;
            match self.next() {
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                Some(_) => return Err(self.error("a control character in a string that is not escaped")),
                None => return Err(self.error("a string without an end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let escaped = match self.next() {
            Some('u') => {
                self.at += 1;
                return self.unicode();
            }
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            _ => return Err(self.expected("an escape like `\\n`")),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// What follows `\u`, and the other half of a surrogate.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.unit()?;
        let after_first = self.at;
        if (0xD800..0xDC00).contains(&first) && self.take("\\u") {
            let second = self.unit()?;
            if let Some(Ok(character)) = char::decode_utf16([first, second]).next() {
                return Ok(character);
            }
            // stands for itself
            self.at = after_first;
        }
        Ok(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|c| c.to_digit(16)).and_then(|digit| u16::try_from(digit).ok());
            unit = unit * 16 + digit.ok_or_else(|| self.expected("a hexadecimal digit"))?;
            self.at += 1;
        }
        Ok(unit)
    }
}
