//! `${NAME}` and `${NAME?}` in settings.

/// Fills in variables as npm does: `${NAME}` stays where there is none of this name, `${NAME?}` becomes empty. A
/// backslash before it keeps it as it is; two are one backslash.
pub(crate) fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let Some((name, is_optional, after)) = placeholder(from) else {
            let (opening, after) = from.split_at(2);
            expanded.push_str(before);
            expanded.push_str(opening);
            rest = after;
            continue;
        };
        let plain = before.trim_end_matches('\\');
        let escapes = before.len() - plain.len();
        expanded.push_str(plain);
        expanded.extend(std::iter::repeat_n('\\', escapes / 2));
        if escapes % 2 == 1 {
            expanded.push_str(from.get(..from.len() - after.len()).unwrap_or_default());
        } else {
            let unset = || if is_optional { String::new() } else { format!("${{{name}}}") };
            expanded.push_str(&variable(name).unwrap_or_else(unset));
        }
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

/// The first name that is still to be filled in.
pub(crate) fn unset(text: &str) -> Option<&str> {
    let at = text.find("${")?;
    placeholder(text.get(at..)?).map(|(name, ..)| name)
}

/// The name, whether it may be unset, and what comes after.
fn placeholder(from: &str) -> Option<(&str, bool, &str)> {
    let inner = from.strip_prefix("${")?;
    let end = inner.find(['$', '{', '}', '?']).filter(|&end| end > 0)?;
    let (name, rest) = inner.split_at(end);
    match rest.strip_prefix("?}") {
        Some(after) => Some((name, true, after)),
        None => rest.strip_prefix('}').map(|after| (name, false, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let variable = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        for (text, expected) in [
            ("plain", "plain"),
            ("${A}", "a"),
            ("x${A}y${A?}z", "xayaz"),
            ("${EMPTY}", ""),
            ("${NONE}", "${NONE}"),
            ("${NONE?}", ""),
            ("${NESTED}", "${A}"),
            (r"\${A}", "${A}"),
            (r"\\${A}", r"\a"),
            (r"\\\${A}", r"\${A}"),
            (r"x\\\\${NONE?}", r"x\\"),
            ("${}", "${}"),
            ("${A", "${A"),
            ("${${A}}", "${a}"),
            ("${A?b}", "${A?b}"),
            ("$A", "$A"),
        ] {
            assert_eq!(expand(text, variable), expected, "{text}");
        }
        assert_eq!(unset("${NONE}"), Some("NONE"));
        assert_eq!(unset("x${"), None);
    }
}
