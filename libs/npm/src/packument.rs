//! What a registry says of one package.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// A package at a registry. What is of another kind than expected is left out, as if it were not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Packument {
    /// By version.
    #[serde(default, deserialize_with = "known")]
    pub versions: BTreeMap<String, Version>,
    /// Versions by tag: `latest`.
    #[serde(default, rename = "dist-tags", deserialize_with = "known")]
    pub tags: BTreeMap<String, String>,
}

/// One version at a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Hashes of the tarball: `sha512-…`, perhaps more than one with spaces between.
    pub integrity: Option<String>,
    /// SHA-1 of the tarball in hex, all that old versions have.
    pub shasum: Option<String>,
    /// Where the tarball is, as the registry says.
    pub tarball: Option<String>,
    /// Why it should not be used.
    pub deprecated: Option<String>,
    /// The versions of Node that it says it runs on.
    pub node: Option<String>,
}

impl Version {
    /// Whether the tarball has this integrity.
    pub fn has_integrity(&self, integrity: &str) -> bool {
        self.integrity.as_deref().unwrap_or_default().split_whitespace().any(|hash| hash == integrity)
    }
}

/// What is perhaps of another kind.
#[derive(Deserialize)]
#[serde(untagged)]
enum Perhaps<T> {
    Known(T),
    Other(IgnoredAny),
}

impl<T> Perhaps<T> {
    fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

/// Of a map, the entries that are what they should be.
fn known<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error> {
    let map = Perhaps::<BTreeMap<String, Perhaps<T>>>::deserialize(deserializer)?.known().unwrap_or_default();
    Ok(map.into_iter().filter_map(|(key, value)| Some((key, value.known()?))).collect())
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        struct Dist {
            integrity: Option<Perhaps<String>>,
            shasum: Option<Perhaps<String>>,
            tarball: Option<Perhaps<String>>,
        }
        #[derive(Deserialize)]
        struct Said {
            dist: Option<Perhaps<Dist>>,
            deprecated: Option<Perhaps<String>>,
            engines: Option<Perhaps<BTreeMap<String, Perhaps<String>>>>,
        }
        let said = Said::deserialize(deserializer)?;
        let text = |perhaps: Option<Perhaps<String>>| perhaps?.known().filter(|text| !text.is_empty());
        let dist = said.dist.and_then(Perhaps::known).unwrap_or_default();
        Ok(Self {
            integrity: text(dist.integrity),
            shasum: text(dist.shasum),
            tarball: text(dist.tarball),
            deprecated: text(said.deprecated),
            node: text(said.engines.and_then(Perhaps::known).unwrap_or_default().remove("node")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_hides_nothing_that_is_well_formed() {
        let text = r#"{"name": 7, "dist-tags": {"latest": "1.0.0", "odd": 3}, "versions": {
            "1.0.0": {"dist": {"integrity": "sha512-a sha1-b", "shasum": "ff", "tarball": "http://h/t.tgz", "x": []},
                      "deprecated": "old", "bin": "x", "engines": {"node": ">=18", "npm": 1}},
            "1.0.1": {"dist": {"integrity": 3, "shasum": "ee"}, "deprecated": false},
            "1.0.2": {"dist": "none", "deprecated": "", "engines": ["x"]}, "1.0.3": null, "1.0.4": [1]}}"#;
        let packument: Packument = serde_json::from_str(text).unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(packument.tags, BTreeMap::from([("latest".to_owned(), "1.0.0".to_owned())]));
        let first = &packument.versions["1.0.0"];
        assert_eq!((first.shasum.clone(), first.deprecated.clone()), (some("ff"), some("old")));
        assert_eq!((first.tarball.clone(), first.node.clone()), (some("http://h/t.tgz"), some(">=18")));
        assert!(first.has_integrity("sha512-a") && !first.has_integrity("sha512"));
        assert_eq!(packument.versions["1.0.1"], Version { shasum: some("ee"), ..Version::default() });
        assert_eq!(packument.versions["1.0.2"], Version::default());
        assert!(!packument.versions.contains_key("1.0.3"));
        for nothing in ["{}", r#"{"versions": null, "dist-tags": []}"#, r#"{"versions": "x"}"#] {
            assert_eq!(serde_json::from_str::<Packument>(nothing).unwrap(), Packument::default(), "{nothing}");
        }
    }
}
