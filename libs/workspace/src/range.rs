//! Versions and ranges, as npm reads them.

use nodejs_semver::{Range, Version};

/// Whether npm takes a package of this version for one that `range` asks for. A range is a version, a range, `*` or
/// empty; a tag is none.
pub fn satisfies(version: Option<&str>, range: &str) -> bool {
    let range = range.trim();
    if matches!(range, "" | "*") {
        return true;
    }
    let Some(version) = version.and_then(parse) else { return false };
    Range::parse(plain(range)).is_ok_and(|range| range.satisfies(&version))
}

/// Whether npm reads this as a range, and not as a tag.
pub fn is_range(text: &str) -> bool {
    matches!(text.trim(), "" | "*") || Range::parse(plain(text.trim())).is_ok()
}

fn parse(version: &str) -> Option<Version> {
    Version::parse(version.trim().trim_start_matches('=')).ok()
}

/// The range with `^*` and its like written as `*`, which the parser does not know.
fn plain(range: &str) -> String {
    let alternatives = range.split("||").map(|alternative| match alternative.trim() {
        "^*" | "~*" | "=*" | ">=*" | "<=*" | "^x" | "~x" | "=x" | ">=x" | "<=x" => "*",
        other => other,
    });
    alternatives.collect::<Vec<_>>().join("||")
}
