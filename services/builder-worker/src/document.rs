//! The document of one version, as npm sends it to a registry: what was packed, made fit for where it goes.
//!
//! Everything keeps the order and the spelling in which npm wrote it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

type Object = IndexMap<String, Box<RawValue>>;

/// What npm sends beside the tarball.
#[derive(Clone, Debug)]
pub struct Document {
    root: Object,
    version: String,
    manifest: Object,
    dist: Dist,
}

/// What the registry is told of the tarball.
#[derive(Clone, Debug, Deserialize)]
pub struct Dist {
    /// Its hash, as npm writes it.
    pub integrity: String,
    /// Its SHA-1 in hex, which is all that old registries show.
    pub shasum: String,
}

impl Document {
    /// Reads what npm sent for `name`.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(text: &[u8], name: &str) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("what npm sends is not understood: {error}");
        let root: Object = serde_json::from_slice(text).map_err(wrong)?;
        let read = |key: &str| root.get(key).map_or("null", |value| value.get());
        let named: String = serde_json::from_str(read("name")).map_err(wrong)?;
        if named != name {
            return Err(format!("npm packed `{}`, not {name}", named.escape_debug()));
        }
        let versions: IndexMap<String, Object> = serde_json::from_str(read("versions")).map_err(wrong)?;
        let count = versions.len();
        match versions.into_iter().next() {
            Some((version, manifest)) if count == 1 => {
                let dist =
                    serde_json::from_str(manifest.get("dist").map_or("null", |dist| dist.get())).map_err(wrong)?;
                Ok(Self { root, version, manifest, dist })
            }
            _ => Err(format!("npm packed {count} versions instead of one")),
        }
    }

    /// The version, as npm spells it for the registry.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it says of the tarball.
    pub fn dist(&self) -> &Dist {
        &self.dist
    }

    /// The commit of the workspace that it is made of. Where its own `package.json` `names` one, that stays; what
    /// npm found above the copy does not.
    pub fn set_commit(&mut self, names: bool, commit: Option<&str>) {
        if names {
            return;
        }
        match commit.and_then(|commit| to_raw_value(commit).ok()) {
            Some(commit) => drop(self.manifest.insert("gitHead".to_owned(), commit)),
            None => drop(self.manifest.shift_remove("gitHead")),
        }
    }

    /// The document for the registry at `registry`, where the version is to be tagged with `tag`.
    ///
    /// # Errors
    /// Where it has no `dist`.
    pub fn to_registry(&self, registry: &str, name: &str, tag: &str) -> serde_json::Result<String> {
        let mut manifest = self.manifest.clone();
        let mut dist: Object = serde_json::from_str(manifest.get("dist").map_or("null", |dist| dist.get()))?;
        // Never https: npm takes the scheme of its own registry for each download.
        let place = registry.strip_prefix("https:").map_or_else(|| registry.to_owned(), |rest| format!("http:{rest}"));
        let tarball = format!("{place}/{name}/-/{name}-{}.tgz", self.version);
        dist.insert("tarball".to_owned(), to_raw_value(&tarball)?);
        manifest.insert("dist".to_owned(), to_raw_value(&dist)?);
        let mut root = self.root.clone();
        root.insert("dist-tags".to_owned(), one(tag, &self.version)?);
        root.insert("versions".to_owned(), one(&self.version, &manifest)?);
        serde_json::to_string(&root)
    }
}

fn one(key: &str, value: &impl Serialize) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&IndexMap::from([(key, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = r#"{"_id":"@acme/b","name":"@acme/b","dist-tags":{"packline":"1.0.0"},"versions":{"1.0.0":{"name":"@acme/b","exports":{"import":"./z.js","default":"./a.js"},"_id":"@acme/b@1.0.0","dist":{"integrity":"sha512-x","shasum":"0","tarball":"http://127.0.0.1:1/@acme/b/-/@acme/b-1.0.0.tgz"}}},"access":null}"#;

    #[test]
    fn a_document_is_made_fit_for_its_registry_and_keeps_its_order() {
        let mut document = Document::parse(SENT.as_bytes(), "@acme/b").unwrap();
        document.set_commit(false, Some("c0ffee"));
        let text = document.to_registry("https://npm.example.com/a", "@acme/b", "next").unwrap();
        let expected = SENT
            .replace(r#"{"packline":"#, r#"{"next":"#)
            .replace("http://127.0.0.1:1/", "http://npm.example.com/a/")
            .replace(r#".tgz"}}},"#, r#".tgz"},"gitHead":"c0ffee"}},"#);
        assert_eq!(text, expected);
    }

    #[test]
    fn a_commit_that_the_package_names_stays() {
        let sent = SENT.replace(r#""_id":"@acme/b@1.0.0""#, r#""gitHead":"beef""#);
        let mut document = Document::parse(sent.as_bytes(), "@acme/b").unwrap();
        let mut sends = |names, commit| {
            document.set_commit(names, commit);
            document.to_registry("http://h", "@acme/b", "latest").unwrap()
        };
        assert!(sends(true, Some("c0ffee")).contains(r#""gitHead":"beef""#));
        assert!(sends(false, Some("c0ffee")).contains(r#""gitHead":"c0ffee""#));
        assert!(!sends(false, None).contains("gitHead"));
    }

    #[test]
    fn what_npm_would_not_send_is_refused() {
        let parse = |text: &str| Document::parse(text.as_bytes(), "@acme/b").unwrap_err();
        assert_eq!(
            parse(&SENT.replace(r#""name":"@acme/b","dist"#, r#""name":"c","dist"#)),
            "npm packed `c`, not @acme/b"
        );
        assert_eq!(parse(r#"{"name":"@acme/b","versions":{}}"#), "npm packed 0 versions instead of one");
        assert!(parse("{").starts_with("what npm sends is not understood"));
    }
}
