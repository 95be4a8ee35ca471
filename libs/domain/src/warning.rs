//! What a build warns of, cut to a size that every record has room for.

/// The most warnings of a result.
pub const MAX_WARNINGS: usize = 20;
/// The longest warning of a result, in characters.
pub const MAX_WARNING: usize = 500;

/// At most [`MAX_WARNINGS`] warnings, each a line of at most [`MAX_WARNING`] characters. Where there are more, the last
/// one says how many are left out. What it returns it leaves as it is.
pub fn cut_warnings(warnings: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = warnings.iter().map(|text| cut_warning(text)).filter(|text| !text.is_empty()).collect();
    if kept.len() > MAX_WARNINGS {
        let left_out = kept.len() - (MAX_WARNINGS - 1);
        kept.truncate(MAX_WARNINGS - 1);
        kept.push(format!("… and {left_out} more warnings"));
    }
    kept
}

fn cut_warning(text: &str) -> String {
    let line = text.replace(char::is_control, " ");
    let line = line.trim();
    if line.chars().nth(MAX_WARNING).is_none() {
        return line.to_owned();
    }
    line.chars().take(MAX_WARNING - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_twenty_warnings_of_at_most_500_characters_in_one_line_each_are_kept() {
        let cut = |warnings: &[String]| {
            let once = cut_warnings(warnings.to_vec());
            assert_eq!(cut_warnings(once.clone()), once, "what is cut is not cut again");
            once
        };
        let fits = ["ä".repeat(500)];
        assert_eq!(cut(&fits), fits);
        assert_eq!(cut(&[format!("{}b", fits[0])]), [format!("{}…", "ä".repeat(499))]);
        assert_eq!(cut(&["\u{1b} a\n\u{1b}[2Jb\n".into(), String::new(), " \n".into()]), ["a  [2Jb"]);
        let many = |count: usize| (0..count).map(|n| format!("w{n}")).collect::<Vec<_>>();
        assert_eq!(cut(&many(20)), many(20));
        let kept = cut(&many(50));
        assert_eq!((kept.len(), &kept[..19]), (20, &many(19)[..]));
        assert_eq!(kept[19], "… and 31 more warnings");
    }
}
