//! Which registries npm is set to, and what opens them.

use std::{collections::BTreeMap, env, fs, path::Path};

use anyhow::Context;
use packline_local::registry::{Credentials, Uplinks, Upstream};
use packline_service::Unusable;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::process::Command;

/// What `npm config ls --json` says; it keeps secrets to itself.
#[derive(Deserialize)]
struct Said {
    registry: String,
    #[serde(default)]
    userconfig: String,
    #[serde(default)]
    globalconfig: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The registries that npm is set to in this workspace, for all but its `own` packages.
///
/// # Errors
/// [`Unusable`] when npm does not name one.
pub(crate) async fn uplinks(workspace: &Path, own: Vec<String>) -> anyhow::Result<Uplinks> {
    let mut npm = Command::new("npm");
    npm.args(["config", "ls", "--json", "--no-update-notifier"]).current_dir(workspace).kill_on_drop(true);
    let ended = npm.output().await.context("failed to ask npm for its registry")?;
    let said = serde_json::from_slice::<Said>(&ended.stdout).ok().filter(|said| said.registry.starts_with("http"));
    let Some(said) = said.filter(|_| ended.status.success()) else {
        let said = String::from_utf8_lossy(&ended.stderr);
        let why = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("its answer is no address");
        let text = format!("npm does not say which registry it is set to: {why}; `npm config get registry` must");
        return Err(Unusable(text).into());
    };
    let mut secrets = BTreeMap::new();
    // The nearest counts.
    for file in [Path::new(&said.globalconfig), Path::new(&said.userconfig), &workspace.join(".npmrc")] {
        secrets.extend(credentials(&fs::read_to_string(file).unwrap_or_default(), |name| env::var(name).ok()));
    }
    let upstream = |url: &str| Upstream { url: url.to_owned(), credentials: opening(&secrets, url).cloned() };
    let scopes = said.others.iter().filter_map(|(key, url)| {
        let scope = key.strip_suffix(":registry").filter(|scope| scope.starts_with('@'))?;
        Some((scope.to_owned(), upstream(url.as_str()?)))
    });
    Ok(Uplinks { own, scopes: scopes.collect(), others: upstream(&said.registry) })
}

/// What a file of npm holds for which registries, by their address without its scheme (`//host/path/`):
/// `//host/path/:_authToken = …`, or `_auth`. See `npm help npmrc`.
fn credentials(text: &str, variable: impl Fn(&str) -> Option<String>) -> BTreeMap<String, Credentials> {
    let entries = text.lines().map(str::trim).filter(|line| line.starts_with("//")).filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let (address, kind) = key.trim().rsplit_once(':')?;
        let value = expand(value.trim().trim_matches(['"', '\'']), &variable);
        let credentials = match kind {
            "_authToken" => Credentials::Bearer(value),
            "_auth" => Credentials::Basic(value),
            _ => return None,
        };
        Some((address.to_owned(), credentials))
    });
    entries.collect()
}

/// Fills in `${NAME}`, where there is such a variable.
fn expand(value: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut parts = value.split("${");
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}').and_then(|(name, rest)| Some((variable(name)?, rest))) {
            Some((set, rest)) => expanded.extend([&set, rest]),
            None => expanded.extend(["${", part]),
        }
    }
    expanded
}

/// What opens the registry with this address: it may be set for any folder above, as npm looks for it.
fn opening<'a>(secrets: &'a BTreeMap<String, Credentials>, url: &str) -> Option<&'a Credentials> {
    let (_, address) = url.split_once(':')?;
    let mut folder = address.trim_end_matches('/');
    while folder.len() > 2 {
        if let Some(found) = secrets.get(&format!("{folder}/")).or_else(|| secrets.get(folder)) {
            return Some(found);
        }
        folder = folder.rsplit_once('/')?.0;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_opened_by_what_is_set_for_it_or_for_a_folder_above() {
        let text = "; a comment\nregistry=https://a.example/\n\
            //a.example/:_authToken=${TOKEN}\n\
            //b.example/npm/ours/:_auth = \"dXNlcjpwYXNz\"\n\
            //c.example:8080/:_authToken=${UNSET}\n\
            //d.example/:always-auth=true\n";
        let secrets = credentials(text, |name| (name == "TOKEN").then(|| "abc".to_owned()));
        let bearer = |token: &str| Some(Credentials::Bearer(token.to_owned()));
        for (url, opened_by) in [
            ("https://a.example/", bearer("abc")),
            ("https://a.example", bearer("abc")),
            ("https://a.example/deeper/down/", bearer("abc")),
            ("http://b.example/npm/ours/", Some(Credentials::Basic("dXNlcjpwYXNz".to_owned()))),
            ("http://b.example/npm/", None),
            ("http://c.example:8080/", bearer("${UNSET}")),
            ("http://c.example/", None),
            ("https://d.example/", None),
            ("nonsense", None),
        ] {
            assert_eq!(opening(&secrets, url).cloned(), opened_by, "{url}");
        }
    }
}
