//! The tag that a version gets at the registry.

use packline_npm::Packument;
use semver::Version;
use serde_json::{Map, Value};

use crate::phase::Failure;

/// The tag that `publishConfig` asks for.
///
/// # Errors
/// Permanent, where that is no tag.
pub(crate) fn configured(publish_config: &Map<String, Value>) -> Result<Option<String>, Failure> {
    match publish_config.get("tag") {
        None => Ok(None),
        Some(Value::String(tag)) if is_tag(tag) => Ok(Some(tag.clone())),
        Some(other) => Err(Failure::permanent(format!(
            "publishConfig.tag is a word that is no version and no range, such as `next`; `{}` is none",
            other.as_str().map_or_else(|| other.to_string(), str::to_owned).escape_debug()
        ))),
    }
}

/// The tag for a version. Without one that is `configured` it is `latest`, unless that would be wrong: for a prerelease
/// its own kind, for a version below one that is there `previous`.
pub(crate) fn choose(version: &Version, found: Option<&Packument>, configured: Option<&str>) -> String {
    if let Some(configured) = configured {
        return configured.to_owned();
    }
    if !version.pre.is_empty() {
        let kind = version.pre.split('.').next().unwrap_or_default();
        let is_word = is_tag(kind) && kind.starts_with(|c: char| c.is_ascii_alphabetic());
        return if is_word { kind.to_owned() } else { "next".to_owned() };
    }
    let versions = found.into_iter().flat_map(|found| found.versions.keys());
    let released = versions.filter_map(|version| Version::parse(version).ok()).filter(|version| version.pre.is_empty());
    let is_below = released.max().is_some_and(|highest| *version < highest);
    if is_below { "previous".to_owned() } else { "latest".to_owned() }
}

/// npm takes for a tag what needs no escape in an address and is no version and no range.
fn is_tag(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    !text.is_empty() && text.bytes().all(is_plain) && !is_range(text)
}

/// `1`, `1.x`, `v1.2.3-beta`, `~1.2`, `*`.
fn is_range(text: &str) -> bool {
    let mut parts = text.trim_start_matches(['v', '~']).splitn(3, '.');
    let is_number = |part: &str| matches!(part, "x" | "X" | "*") || part.bytes().all(|byte| byte.is_ascii_digit());
    let [first, second, third] = [parts.next(), parts.next(), parts.next()];
    // Of a whole version a prerelease may follow.
    let third = third.map(|third| third.split('-').next().unwrap_or_default());
    [first, second, third].into_iter().flatten().all(is_number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn there(versions: &[&str]) -> Packument {
        let versions = versions.iter().map(|version| ((*version).to_owned(), packline_npm::Version::default()));
        Packument { versions: versions.collect(), ..Packument::default() }
    }

    #[test]
    fn a_tag_is_named_where_latest_would_be_wrong() {
        let there = there(&["1.0.0", "2.0.0", "3.0.0-rc.1"]);
        let tag = |text, configured| choose(&Version::parse(text).unwrap(), Some(&there), configured);
        assert_eq!(choose(&Version::parse("1.0.0").unwrap(), None, None), "latest");
        assert_eq!(tag("2.1.0", None), "latest");
        assert_eq!(tag("1.5.0", None), "previous");
        assert_eq!(tag("3.0.0-beta.2", None), "beta");
        assert_eq!(tag("3.0.0-0", None), "next");
        assert_eq!(tag("3.0.0-x", None), "next");
        assert_eq!(tag("2.1.0", Some("canary")), "canary");
        assert_eq!(tag("1.5.0", Some("latest")), "latest", "asked for");
    }

    #[test]
    fn what_npm_takes_for_a_range_is_no_tag() {
        let configured = |tag: Value| super::configured(json!({ "tag": tag }).as_object().unwrap());
        for tag in ["next", "latest", "2024-lts", "v2-beta", "release-1.x", "a.b"] {
            assert_eq!(configured(tag.into()), Ok(Some(tag.to_owned())), "{tag}");
        }
        for wrong in
            ["", "1", "1.x", "v1.2", "1.2.3", "1.2.3-beta", "~1.2", "*", "x", "a b", "ä", "a/b", "--registry=x"]
        {
            let failure = configured(wrong.into()).unwrap_err();
            assert!(!failure.retry && failure.error.contains("such as `next`"), "{wrong}: {failure:?}");
        }
        assert!(configured(7.into()).is_err());
        assert_eq!(super::configured(&Map::new()), Ok(None));
    }
}
