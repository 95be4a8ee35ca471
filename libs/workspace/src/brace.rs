//! `{a,b}` and `{1..3}` in a pattern, written out.

/// Patterns that one may stand for.
const MOST: usize = 4096;

/// All patterns that `pattern` stands for, itself where it has no braces; `None` where there are too many.
pub(crate) fn expand(pattern: &str) -> Option<Vec<String>> {
    let mut open = vec![pattern.to_owned()];
    let mut all = Vec::new();
    while let Some(pattern) = open.pop() {
        match first(&pattern) {
            None => all.push(pattern),
            Some((before, choices, after)) => {
                open.extend(choices.iter().rev().map(|choice| format!("{before}{choice}{after}")));
            }
        }
        if all.len() + open.len() > MOST {
            return None;
        }
    }
    Some(all)
}

/// The first braces with a choice in them: what is before, the choices, what is after.
fn first(pattern: &str) -> Option<(&str, Vec<String>, &str)> {
    for (start, _) in pattern.match_indices('{') {
        let (before, rest) = (pattern.get(..start)?, pattern.get(start + 1..)?);
        let Some((inside, after)) = closed(rest) else { continue };
        let choices = match split(inside) {
            parts if parts.len() > 1 => parts.into_iter().map(str::to_owned).collect(),
            _ => match sequence(inside) {
                Some(choices) => choices,
                None => continue,
            },
        };
        return Some((before, choices, after));
    }
    None
}

/// What stands before the brace that closes, and behind it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The parts between commas that stand in no further braces.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

/// `1..3`, or `a..c`.
fn sequence(text: &str) -> Option<Vec<String>> {
    let (from, to) = text.split_once("..")?;
    if let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) {
        let numbers = from.min(to)..=from.max(to);
        return (numbers.len() <= MOST).then(|| numbers.map(|number| number.to_string()).collect());
    }
    let letter = |text: &str| text.parse::<char>().ok().filter(char::is_ascii_alphabetic);
    let (from, to) = (letter(from)?, letter(to)?);
    Some((from.min(to)..=from.max(to)).map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_choices_at_any_depth() {
        for (pattern, all) in [
            ("packages/*", vec!["packages/*"]),
            ("{packages,tools}/*", vec!["packages/*", "tools/*"]),
            ("a{b,c/{d,e}}f", vec!["abf", "ac/df", "ac/ef"]),
            ("{a,b}{1..3}", vec!["a1", "a2", "a3", "b1", "b2", "b3"]),
            ("{a..c}", vec!["a", "b", "c"]),
            ("{,x}", vec!["", "x"]),
            ("{a}/{b", vec!["{a}/{b"]),
            ("{a/{b,c}", vec!["{a/b", "{a/c"]),
            ("{{a,b}}", vec!["{a}", "{b}"]),
        ] {
            assert_eq!(expand(pattern).unwrap(), all, "{pattern}");
        }
        assert_eq!(expand(&"{a,b}".repeat(40)), None);
    }
}
