//! One package at two registries: what the workspace has published, and what is left of the other one's versions.

use indexmap::IndexMap;
use semver::Version;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::held::Held;

type Raw = IndexMap<String, Box<RawValue>>;

const VERSIONS: &str = "versions";
const TIME: &str = "time";
const TAGS: &str = "dist-tags";
const LATEST: &str = "latest";

/// What a registry says of a package. What it says beyond versions, tags and times is passed on as it is.
#[derive(Debug, Default)]
pub(super) struct Document {
    fields: Raw,
    versions: Raw,
    times: Raw,
    tags: IndexMap<String, String>,
}

impl Document {
    /// # Errors
    /// When it is no JSON object.
    pub(super) fn parse(text: &[u8]) -> serde_json::Result<Self> {
        let mut fields: Raw = serde_json::from_slice(text)?;
        let map = |field: Option<Box<RawValue>>| field.and_then(|field| Raw::deserialize(&*field).ok());
        let [versions, times, tags] = [VERSIONS, TIME, TAGS].map(|key| map(fields.shift_remove(key)));
        let tags = tags.into_iter().flatten();
        let tags = tags.filter_map(|(tag, version)| Some((tag, String::deserialize(&*version).ok()?))).collect();
        Ok(Self { fields, versions: versions.unwrap_or_default(), times: times.unwrap_or_default(), tags })
    }

    /// What is `published` here, and below it what of `theirs` is not `held`. `None` where that is no version at all.
    ///
    /// `latest` is the one that is published here; before that theirs, or, where that one is held, the highest left.
    pub(super) fn merge(published: Option<Self>, theirs: Option<Self>, held: Option<&Held>) -> Option<Self> {
        let mut merged = theirs.map(|theirs| theirs.without(held)).unwrap_or_default();
        if let Some(own) = published.filter(|own| !own.versions.is_empty()) {
            merged.fields = own.fields;
            merged.versions.extend(own.versions);
            merged.times.extend(own.times);
            merged.tags.extend(own.tags);
        }
        if !merged.tags.contains_key(LATEST) {
            let highest = merged.highest()?.to_owned();
            merged.tags.insert(LATEST.to_owned(), highest);
        }
        (!merged.versions.is_empty()).then_some(merged)
    }

    fn without(mut self, held: Option<&Held>) -> Self {
        let is_held = |version: &str| held.is_some_and(|held| held.has(version));
        self.versions.retain(|version, _| !is_held(version));
        self.times.retain(|version, _| !is_held(version));
        self.tags.retain(|_, version| self.versions.contains_key(version));
        self
    }

    /// The highest version; no prerelease where there is another.
    fn highest(&self) -> Option<&str> {
        let parsed = self.versions.keys().filter_map(|text| Some((Version::parse(text).ok()?, text.as_str())));
        let highest =
            parsed.max_by(|(one, _), (other, _)| (one.pre.is_empty(), one).cmp(&(other.pre.is_empty(), other)));
        highest.map(|(_, text)| text).or_else(|| self.versions.keys().last().map(String::as_str))
    }

    /// What it says of one version, by number or tag.
    pub(super) fn version(&self, wanted: &str) -> Option<&RawValue> {
        let of = |version: &str| self.versions.get(version).map(AsRef::as_ref);
        of(wanted).or_else(|| of(self.tags.get(wanted)?))
    }

    /// Its tags, as JSON.
    pub(super) fn tags(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&self.tags)
    }

    /// Whether the tarball of one of its versions is the last part of an address with this name.
    pub(super) fn has_tarball(&self, file: &str) -> bool {
        #[derive(Deserialize)]
        struct Said {
            dist: Dist,
        }
        #[derive(Deserialize)]
        struct Dist {
            tarball: String,
        }
        let is_it = |version: &RawValue| {
            let Ok(Said { dist: Dist { tarball } }) = Said::deserialize(version) else { return false };
            let path = tarball.split(['?', '#']).next().unwrap_or_default();
            path.rsplit('/').next() == Some(file)
        };
        self.versions.values().any(|version| is_it(version))
    }

    /// The whole, as JSON.
    pub(super) fn write(mut self) -> serde_json::Result<Vec<u8>> {
        // Without times an abbreviated document stays one.
        let times = (!self.times.is_empty()).then(|| to_raw_value(&self.times)).transpose()?;
        for (key, value) in
            [(TAGS, Some(to_raw_value(&self.tags)?)), (TIME, times), (VERSIONS, Some(to_raw_value(&self.versions)?))]
        {
            if let Some(value) = value {
                self.fields.insert(key.to_owned(), value);
            }
        }
        serde_json::to_vec(&self.fields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(text: &Value) -> Document {
        Document::parse(text.to_string().as_bytes()).unwrap()
    }

    /// What is left of these versions there, beside those published here.
    fn merged(theirs: &[&str], latest: &str, own: &[&str], held: &[&str]) -> Option<Value> {
        let versions = |versions: &[&str], whose: &str| -> Value {
            versions.iter().map(|version| ((*version).to_owned(), json!({"whose": whose}))).collect()
        };
        let theirs = json!({"readme": "theirs", "versions": versions(theirs, "theirs"),
            "time": {"created": "t", "1.0.0": "t", "2.0.0": "t"}, "dist-tags": {"latest": latest, "next": "2.0.0"}});
        let ours = own.last().map(|latest| {
            let tags = json!({"latest": latest});
            document(&json!({"versions": versions(own, "ours"), "dist-tags": tags, "time": {"created": "o"}}))
        });
        let held = Held::Versions(held.iter().map(|version| (*version).to_owned()).collect());
        let merged = Document::merge(ours, Some(document(&theirs)), Some(&held))?;
        Some(serde_json::from_slice(&merged.write().unwrap()).unwrap())
    }

    #[test]
    fn latest_is_the_one_that_is_published_here_else_theirs_else_the_highest_that_is_left() {
        let latest = |own: &[&str], held: &[&str]| {
            let merged = merged(&["1.0.0", "2.0.0", "2.1.0-rc.1"], "2.0.0", own, held)?;
            Some(merged["dist-tags"]["latest"].as_str().unwrap().to_owned())
        };
        assert_eq!(latest(&[], &["3.0.0"]).as_deref(), Some("2.0.0"));
        assert_eq!(latest(&[], &["2.0.0"]).as_deref(), Some("1.0.0"));
        assert_eq!(latest(&[], &["2.0.0", "1.0.0"]).as_deref(), Some("2.1.0-rc.1"));
        assert_eq!(latest(&["0.9.0"], &["0.9.0"]).as_deref(), Some("0.9.0"));
        assert_eq!(latest(&[], &["2.0.0", "1.0.0", "2.1.0-rc.1"]), None);
    }

    #[test]
    fn of_a_held_version_nothing_is_left_and_what_is_published_here_goes_first() {
        let merged = merged(&["1.0.0", "2.0.0", "3.0.0"], "3.0.0", &["1.0.0"], &["2.0.0"]).unwrap();
        assert_eq!(merged["versions"]["1.0.0"]["whose"], "ours");
        assert_eq!(merged["versions"]["3.0.0"]["whose"], "theirs");
        assert_eq!(merged["versions"].get("2.0.0"), None);
        assert_eq!(merged["time"], json!({"created": "o", "1.0.0": "t"}));
        assert_eq!(merged["dist-tags"], json!({"latest": "1.0.0"}));
        assert_eq!(merged.get("readme"), None, "theirs is no word on ours");
    }

    #[test]
    fn a_document_is_passed_on_with_what_no_other_reader_takes() {
        let text = r#"{"versions": {"1.0.0": {"description": "cut \ud83d",
            "dist": {"tarball": "http://h/x/-/odd.tgz?x=/y"}}}, "dist-tags": {"latest": "1.0.0", "odd": 7}, "_id": 1e999}"#;
        let document = Document::parse(text.as_bytes()).unwrap();
        assert!(document.has_tarball("odd.tgz") && !document.has_tarball("y") && !document.has_tarball("x-1.0.0.tgz"));
        assert!(document.version("latest").is_some() && document.version("2.0.0").is_none());
        let written = String::from_utf8(document.write().unwrap()).unwrap();
        assert!(written.contains(r"cut \ud83d") && written.contains("1e999"), "{written}");
    }
}
