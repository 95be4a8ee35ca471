//! How Verdaccio is configured: whose packages it takes from where.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Another registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its address.
    pub url: String,
    /// What opens it, where it is not open.
    pub credentials: Option<Credentials>,
}

/// What opens a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token, npm's `_authToken`.
    Bearer(String),
    /// A user's name and password in base64, npm's `_auth`.
    Basic(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// From where a registry takes what it does not have itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplinks {
    /// For each scope that has a registry of its own (`@scope`), that registry.
    pub scopes: BTreeMap<String, Upstream>,
    /// The registry of all others.
    pub others: Upstream,
}

impl fmt::Display for Uplinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.others.url)?;
        self.scopes.iter().try_for_each(|(scope, upstream)| write!(f, ", {scope} from {}", upstream.url))
    }
}

/// Which requests the registry says, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// All, in a file of its folder.
    All,
    /// Only those that go wrong, where this program prints.
    Failures,
}

/// The folder of the packages, below that of the configuration.
pub(super) const STORAGE: &str = "storage";

/// What one Verdaccio is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role<'a> {
    /// It has what is published to it, and knows no other registry.
    Own,
    /// It has copies of what is at others, and nothing is published to it.
    Mirror(&'a Uplinks),
}

/// Writes it for the eyes of this user alone, because of the secrets in it.
pub(super) fn write(file: &Path, role: Role<'_>, told: Told) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let text = serde_json::to_vec(&configuration(role, told))?;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(&text)
}

/// A map whose order counts.
struct Ordered(Vec<(String, Value)>);

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[derive(Serialize)]
struct Configuration {
    storage: &'static str,
    max_body_size: &'static str,
    uplinks: BTreeMap<String, Value>,
    /// Of those that match a name Verdaccio takes the first.
    packages: Ordered,
    web: Value,
    log: Value,
}

/// Whoever reaches it may read, and publish where that is what it is for. JSON is YAML.
fn configuration(role: Role<'_>, told: Told) -> Configuration {
    const OTHERS: &str = "upstream";
    let through = |uplink: &str| json!({"access": "$all", "proxy": uplink});
    let mut packages = Vec::new();
    let mut named = BTreeMap::new();
    match role {
        Role::Own => {
            packages.push(("**".to_owned(), json!({"access": "$all", "publish": "$all", "unpublish": "$all"})));
        }
        Role::Mirror(Uplinks { scopes, others }) => {
            for (scope, upstream) in scopes {
                named.insert(scope.clone(), uplink(upstream));
                packages.push((format!("{scope}/*"), through(scope)));
            }
            named.insert(OTHERS.to_owned(), uplink(others));
            packages.push(("**".to_owned(), through(OTHERS)));
        }
    }
    let level = match told {
        Told::All => "http",
        Told::Failures => "warn",
    };
    Configuration {
        storage: STORAGE,
        max_body_size: "500mb",
        uplinks: named,
        packages: Ordered(packages),
        web: json!({"enable": false}),
        log: json!({"type": "stdout", "format": "pretty", "level": level, "colors": false}),
    }
}

fn uplink(upstream: &Upstream) -> Value {
    let mut uplink = json!({"url": upstream.url, "timeout": "30s", "max_fails": 5, "fail_timeout": "10s"});
    let auth = upstream.credentials.as_ref().map(|credentials| match credentials {
        Credentials::Bearer(token) => json!({"type": "bearer", "token": token}),
        Credentials::Basic(token) => json!({"type": "basic", "token": token}),
    });
    if let (Some(auth), Some(fields)) = (auth, uplink.as_object_mut()) {
        fields.insert("auth".into(), auth);
    }
    uplink
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn scopes_come_before_all_others_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        fs::write(&file, "of an earlier start").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let corp = Upstream { url: "http://corp".into(), credentials: Some(Credentials::Bearer("hush".into())) };
        let uplinks = Uplinks {
            scopes: BTreeMap::from([("@corp".into(), corp)]),
            others: Upstream { url: "http://others".into(), credentials: None },
        };
        assert!(!format!("{uplinks:?}").contains("hush"));
        write(&file, Role::Mirror(&uplinks), Told::All).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&file).unwrap();
        let places = [r#""@corp/*":{"#, r#""**":{"#].map(|key| text.find(key).unwrap());
        assert!(places.is_sorted(), "{text}");
        assert!(!text.contains("publish"), "{text}");
    }
}
