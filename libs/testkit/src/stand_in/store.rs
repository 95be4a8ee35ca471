//! The packages of the stand-in.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use super::{Answer, wire::Head};

/// The accept header by which npm asks for what an install needs.
const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// What an abbreviated document has of a version.
const INSTALLS: [&str; 18] = [
    "name",
    "version",
    "deprecated",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bin",
    "directories",
    "dist",
    "engines",
    "cpu",
    "os",
    "funding",
    "_hasShrinkwrap",
    "hasInstallScript",
];

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Ping,
    Package(String),
    Tarball(String, String),
    Unknown,
}

impl Target {
    pub(super) fn of(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.trim_start_matches('/').replace("%2f", "/").replace("%2F", "/").replace("%40", "@");
        if path == "-/ping" {
            return Self::Ping;
        }
        let (name, file) = match path.split_once("/-/") {
            Some((name, file)) => (name, file.rsplit('/').next()),
            None => (path.as_str(), None),
        };
        let slashes = name.matches('/').count();
        if name.is_empty() || name.starts_with('-') || slashes != usize::from(name.starts_with('@')) {
            return Self::Unknown;
        }
        match file {
            Some(file) => Self::Tarball(name.to_owned(), file.to_owned()),
            None => Self::Package(name.to_owned()),
        }
    }

    pub(super) fn package(self) -> Option<String> {
        match self {
            Self::Package(name) | Self::Tarball(name, _) => Some(name),
            Self::Ping | Self::Unknown => None,
        }
    }
}

/// All packages.
#[derive(Debug)]
pub(super) struct Store {
    url: String,
    packages: BTreeMap<String, Package>,
}

#[derive(Clone, Debug, Default)]
struct Package {
    document: Map<String, Value>,
    tarballs: BTreeMap<String, Vec<u8>>,
    /// What so many GETs get to see instead.
    late: Option<(usize, Option<Map<String, Value>>)>,
}

impl Store {
    pub(super) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), packages: BTreeMap::new() }
    }

    /// What is stored of a package.
    pub(super) fn document(&self, name: &str) -> Option<Value> {
        self.packages.get(name).map(|package| Value::Object(package.document.clone()))
    }

    pub(super) fn tarball(&self, name: &str, version: &str) -> Option<Vec<u8>> {
        self.packages.get(name)?.tarballs.get(&file(name, version)).cloned()
    }

    /// Does what a request asks for.
    pub(super) fn process(&mut self, method: &str, target: &Target, head: &Head, body: &[u8]) -> Answer {
        match (method, target) {
            ("GET", Target::Ping) => Answer::new(200).json(&json!({})),
            ("GET" | "HEAD", Target::Package(name)) => self.show(name, head),
            ("GET" | "HEAD", Target::Tarball(name, file)) => {
                match self.packages.get(name).and_then(|package| package.tarballs.get(file)) {
                    Some(tarball) => {
                        Answer::new(200).header("content-type", "application/octet-stream").body(tarball.clone())
                    }
                    None => not_found(),
                }
            }
            ("PUT", Target::Package(name)) => self.put(name, body),
            _ => not_found(),
        }
    }

    /// Stores a put, and shows so many GETs what was there before.
    pub(super) fn process_late(&mut self, target: &Target, body: &[u8], times: usize) -> Answer {
        let Target::Package(name) = target else { return not_found() };
        let before = self.packages.get(name).map(|package| package.document.clone());
        let answer = self.put(name, body);
        if let Some(package) = self.packages.get_mut(name) {
            package.late = Some((times, before));
        }
        answer
    }

    fn show(&mut self, name: &str, head: &Head) -> Answer {
        let Some(package) = self.packages.get_mut(name) else { return not_found() };
        let document = match &mut package.late {
            Some((left, before)) if *left > 0 => {
                *left -= 1;
                before.clone()
            }
            _ => Some(package.document.clone()),
        };
        let Some(mut document) = document else { return not_found() };
        let is_abbreviated = head.header("accept").is_some_and(|accept| accept.contains(ABBREVIATED));
        if is_abbreviated {
            document.retain(|key, _| ["name", "dist-tags", "versions"].contains(&key.as_str()));
        }
        for (version, manifest) in document.get_mut("versions").and_then(Value::as_object_mut).into_iter().flatten() {
            if let Some(tarball) = manifest.pointer_mut("/dist/tarball") {
                *tarball = format!("{}/{name}/-/{}", self.url, file(name, version)).into();
            }
            if let Some(manifest) = manifest.as_object_mut().filter(|_| is_abbreviated) {
                manifest.retain(|key, _| INSTALLS.contains(&key.as_str()));
            }
        }
        let kind = if is_abbreviated { ABBREVIATED } else { "application/json" };
        Answer::new(200).header("content-type", kind).body(Value::Object(document).to_string())
    }

    /// Stores what `npm publish` sends.
    fn put(&mut self, name: &str, body: &[u8]) -> Answer {
        let Ok(Value::Object(mut put)) = serde_json::from_slice(body) else {
            return Answer::error(400, "the body is no JSON object");
        };
        let versions = put.remove("versions").unwrap_or_default();
        let tags = put.remove("dist-tags").unwrap_or_default();
        let attachments = put.remove("_attachments").unwrap_or_default();
        let said = put.remove("time").unwrap_or_default();
        put.remove("access");
        let (Value::Object(versions), Value::Object(tags)) = (versions, tags) else {
            return Answer::error(400, "`versions` and `dist-tags` are objects");
        };
        if put.get("name").and_then(Value::as_str) != Some(name) || versions.is_empty() {
            return Answer::error(400, "the body has the `name` of the path and at least one of `versions`");
        }
        let mut package = self.packages.get(name).cloned().unwrap_or_default();
        let known = package.document.get("versions").and_then(Value::as_object);
        if let Some((version, _)) = versions.iter().find(|(version, _)| known.is_some_and(|k| k.contains_key(*version)))
        {
            return Answer::error(409, &format!("{name} {version} is there already"));
        }
        for (version, manifest) in &versions {
            match tarball(name, version, manifest, &attachments) {
                Ok(tarball) => package.tarballs.insert(file(name, version), tarball),
                Err(why) => return Answer::error(400, &format!("{version}: {why}")),
            };
        }
        package.late = None;
        let now = Value::from(format!("{:.3}", jiff::Timestamp::now()));
        let published = |version: &String| (version.clone(), said.get(version).unwrap_or(&now).clone());
        let times = versions.keys().map(published).collect();
        for (key, new) in [("versions", versions), ("dist-tags", tags), ("time", times)] {
            match package.document.get_mut(key).and_then(Value::as_object_mut) {
                Some(old) => old.extend(new),
                None => drop(package.document.insert(key.to_owned(), Value::Object(new))),
            }
        }
        package.document.extend(put);
        self.packages.insert(name.to_owned(), package);
        Answer::new(201).json(&json!({ "ok": true, "success": true }))
    }
}

/// The file name of a tarball.
fn file(name: &str, version: &str) -> String {
    format!("{}-{version}.tgz", name.rsplit('/').next().unwrap_or_default())
}

/// The tarball of a version: of the length and the integrity that it is said to have.
fn tarball(name: &str, version: &str, manifest: &Value, attachments: &Value) -> Result<Vec<u8>, String> {
    let attachment = attachments.get(format!("{name}-{version}.tgz")).ok_or("its tarball is not attached")?;
    let data = attachment.get("data").and_then(Value::as_str).ok_or("an attachment has no `data`")?;
    let tarball = BASE64_STANDARD.decode(data).map_err(|error| error.to_string())?;
    if attachment.get("length").and_then(Value::as_u64) != u64::try_from(tarball.len()).ok() {
        return Err(format!("`length` is not the {} bytes of the tarball", tarball.len()));
    }
    let integrity = format!("sha512-{}", BASE64_STANDARD.encode(Sha512::digest(&tarball)));
    match manifest.pointer("/dist/integrity").and_then(Value::as_str) {
        Some(said) if said == integrity => Ok(tarball),
        said => Err(format!("the tarball has the integrity {integrity}, and not {said:?}")),
    }
}

fn not_found() -> Answer {
    Answer::error(404, "Not found")
}
