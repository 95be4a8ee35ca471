//! What a package's `publishConfig` may decide.

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::{phase::Failure, registry::is_same};

/// What npm knows as settings of a publish.
const SETTINGS: [&str; 5] = ["access", "tag", "provenance", "directory", "linkDirectory"];

/// What other package managers put into the published `package.json`; npm does not.
const FIELDS: [&str; 19] = [
    "type",
    "engines",
    "os",
    "cpu",
    "libc",
    "imports",
    "main",
    "module",
    "exports",
    "types",
    "typings",
    "typesVersions",
    "bin",
    "browser",
    "esnext",
    "es2015",
    "unpkg",
    "umd:main",
    "executableFiles",
];

/// What is done where `publishConfig` asks for another registry or for provenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PublishConfig {
    /// Another registry is refused, and so is provenance, which only a hosted CI can make
    #[default]
    Refuse,
    /// A package is published to the registry that it names; provenance is refused
    Follow,
    /// Both are left out, with a warning: the registry is one for trying
    Ignore,
}

impl PublishConfig {
    /// Checks a `publishConfig` for a build whose registry is `registry`; what it leaves out goes to `warnings`.
    /// The registry to publish to, where that is another one.
    ///
    /// # Errors
    /// Permanent: the key that is not allowed, and what would be.
    pub fn check(
        self,
        config: &Map<String, Value>,
        registry: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Option<String>, Failure> {
        let known = |key: &str| SETTINGS.contains(&key) || FIELDS.contains(&key);
        if let Some(key) = config.keys().find(|key| !names_registry(key) && !known(key)) {
            return Err(Failure::permanent(format!(
                "publishConfig sets `{}`; only {} and the worker's own registry may stand there",
                plain(key),
                SETTINGS.join(", ")
            )));
        }
        for field in config.keys().filter(|key| FIELDS.contains(&key.as_str())) {
            warnings.push(format!("publishConfig.{field} is not applied: npm does not either"));
        }
        if config.get("provenance").is_some_and(|asked| *asked == Value::Bool(true)) {
            match self {
                Self::Ignore => {
                    warnings.push("publishConfig.provenance is skipped: a hosted CI alone can make it".into())
                }
                Self::Refuse | Self::Follow => {
                    return Err(Failure::permanent(
                        "publishConfig asks for provenance, which a hosted CI alone can make; remove it, or set \
                         PUBLISH_CONFIG=ignore",
                    ));
                }
            }
        }
        let Some(other) = other_registry(config, registry) else { return Ok(None) };
        let shown = plain(other.as_str().unwrap_or("which is no text"));
        match (self, other.as_str().map(crate::config::registry)) {
            (Self::Ignore, _) => {
                warnings.push(format!("publishConfig names another registry, {shown}; published to {registry} only"));
                Ok(None)
            }
            (Self::Follow, Some(Ok(other))) => Ok(Some(other)),
            (Self::Follow, Some(Err(why))) => {
                Err(Failure::permanent(format!("publishConfig names the registry {shown}, which is none: {why}")))
            }
            (Self::Refuse | Self::Follow, _) => Err(Failure::permanent(format!(
                "publishConfig names another registry, {shown}; remove it, or set PUBLISH_CONFIG=follow to publish there"
            ))),
        }
    }
}

/// Removes what a manager has put into the published `package.json`.
pub(crate) fn remove_applied(config: &mut Map<String, Value>) {
    config.retain(|field, _| !FIELDS.contains(&field.as_str()));
}

/// The registry that it names, where that is not the one in force; that of a scope goes before.
fn other_registry<'a>(config: &'a Map<String, Value>, registry: &str) -> Option<&'a Value> {
    let mut named: Vec<(&String, &Value)> = config.iter().filter(|(key, _)| names_registry(key)).collect();
    named.sort_by_key(|(key, _)| !key.starts_with('@'));
    named.into_iter().map(|(_, value)| value).find(|value| !value.as_str().is_some_and(|url| is_same(url, registry)))
}

/// Whether a recipe's own publish may be left to follow this `publishConfig`.
///
/// # Errors
/// Permanent, where it names another registry than `registry`.
pub fn check_registries(config: &Map<String, Value>, registry: &str) -> Result<(), Failure> {
    match other_registry(config, registry) {
        None => Ok(()),
        Some(value) => Err(Failure::permanent(format!(
            "publishConfig names another registry, {}; remove it, the registry is the worker's to choose",
            plain(value.as_str().unwrap_or("which is no text"))
        ))),
    }
}

fn names_registry(key: &str) -> bool {
    key == "registry" || (key.starts_with('@') && key.ends_with(":registry"))
}

fn plain(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const REGISTRY: &str = "http://127.0.0.1:4873";

    fn check(policy: PublishConfig, config: Value) -> (Result<Option<String>, String>, Vec<String>) {
        let mut warnings = Vec::new();
        let checked = policy.check(config.as_object().unwrap(), REGISTRY, &mut warnings);
        (
            checked.map_err(|failure| {
                assert!(!failure.retry);
                failure.error
            }),
            warnings,
        )
    }

    #[test]
    fn another_registry_is_refused_followed_or_left_out() {
        use PublishConfig::{Follow, Ignore, Refuse};
        for policy in [Refuse, Follow, Ignore] {
            let config =
                json!({"registry": format!("{REGISTRY}/"), "access": "public", "tag": "next", "provenance": false});
            assert_eq!(check(policy, config), (Ok(None), vec![]));
            assert_eq!(check(policy, json!({"@acme:registry": REGISTRY})), (Ok(None), vec![]));
        }
        for key in ["registry", "@acme:registry"] {
            let other = || json!({ key: "https://other.example/" });
            assert!(check(Refuse, other()).0.unwrap_err().contains("another registry, https://other.example"));
            assert_eq!(check(Follow, other()), (Ok(Some("https://other.example".into())), vec![]));
            let (registry, warnings) = check(Ignore, other());
            assert_eq!(registry, Ok(None));
            assert!(warnings.concat().contains(&format!("published to {REGISTRY} only")), "{warnings:?}");
        }
        for wrong in [json!({"registry": 7}), json!({"registry": "ftp://x"})] {
            assert!(check(Refuse, wrong.clone()).0.is_err());
            assert!(check(Follow, wrong).0.is_err());
        }
    }

    #[test]
    fn provenance_is_refused_or_skipped() {
        let config = || json!({"provenance": true});
        assert!(check(PublishConfig::Refuse, config()).0.unwrap_err().contains("hosted CI"));
        assert!(check(PublishConfig::Follow, config()).0.is_err());
        let (_, warnings) = check(PublishConfig::Ignore, config());
        assert_eq!(warnings, ["publishConfig.provenance is skipped: a hosted CI alone can make it"]);
    }

    #[test]
    fn settings_that_lead_elsewhere_are_refused_and_fields_of_other_managers_are_not() {
        for redirects in
            ["proxy", "https-proxy", "strict-ssl", "//127.0.0.1:4873/:_authToken", "userconfig", "x:registry"]
        {
            let refusal = check(PublishConfig::Ignore, json!({ redirects: "http://other.example" })).0.unwrap_err();
            assert!(refusal.contains(redirects), "{refusal}");
        }
        let (checked, warnings) = check(PublishConfig::Refuse, json!({"exports": {".": "./dist/index.js"}}));
        assert_eq!(checked, Ok(None));
        assert_eq!(warnings, ["publishConfig.exports is not applied: npm does not either"]);
        assert_eq!(
            check(PublishConfig::Refuse, json!({"imports": {"#own": "./dist/own.js"}, "type": "module"})).0,
            Ok(None)
        );
    }
}
