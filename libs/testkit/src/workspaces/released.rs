//! Tiny packages that are in the registry before a workspace is built.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use crate::http::stranger;

const LONG_AGO: &str = "2020-01-01T00:00:00.000Z";

/// One version of a package, with the same tarball each time.
#[derive(Clone, Debug, PartialEq)]
pub struct Released {
    name: String,
    version: String,
    manifest: Map<String, Value>,
    files: BTreeMap<String, String>,
    is_young: bool,
}

impl Released {
    /// A package whose `index.js` exports its version.
    pub fn new(name: &str, version: &str) -> Self {
        let index = ("index.js".to_owned(), format!("module.exports = '{version}';\n"));
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            manifest: Map::new(),
            files: [index].into(),
            is_young: false,
        }
    }

    /// A program of the package's own name.
    #[must_use]
    pub fn program(self, text: &str) -> Self {
        let bin = self.name.rsplit('/').next().unwrap_or_default().to_owned();
        self.field("bin", json!({ bin: "cli.js" })).file("cli.js", &format!("#!/usr/bin/env node\n{text}"))
    }

    /// A field of `package.json`.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.manifest.insert(name.to_owned(), value);
        self
    }

    /// It is published when it is put into a registry, and not years ago.
    #[must_use]
    pub fn young(self) -> Self {
        Self { is_young: true, ..self }
    }

    /// A file.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    /// Its name as npm writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The hash of its tarball, as lock files write it.
    ///
    /// # Errors
    /// As [`Self::tarball`].
    pub fn integrity(&self) -> anyhow::Result<String> {
        Ok(format!("sha512-{}", BASE64_STANDARD.encode(Sha512::digest(self.tarball()?))))
    }

    /// Its tarball.
    ///
    /// # Errors
    /// When a path is too long for a tarball.
    pub fn tarball(&self) -> anyhow::Result<Vec<u8>> {
        let manifest = serde_json::to_string_pretty(&self.manifest())?;
        let mut tarball = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let files = self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        for (path, text) in [("package.json", manifest.as_str())].into_iter().chain(files) {
            let mut header = tar::Header::new_ustar();
            header.set_mode(if text.starts_with("#!") { 0o755 } else { 0o644 });
            header.set_size(text.len() as u64);
            tarball.append_data(&mut header, format!("package/{path}"), text.as_bytes())?;
        }
        Ok(tarball.into_inner()?.finish()?)
    }

    /// Puts it into a registry, as `npm publish` does.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn put(&self, registry: &str) -> anyhow::Result<()> {
        put(registry, self.manifest(), &self.tarball()?, self.is_young).await
    }

    fn manifest(&self) -> Map<String, Value> {
        let mut manifest = Map::from_iter([
            ("name".to_owned(), self.name.as_str().into()),
            ("version".to_owned(), self.version.as_str().into()),
            ("license".to_owned(), "MIT".into()),
        ]);
        manifest.extend(self.manifest.clone());
        manifest
    }
}

/// Puts a version into a registry, as if it had been published years ago unless it is young.
///
/// # Errors
/// When the registry does not take it.
pub(crate) async fn put(
    registry: &str,
    mut manifest: Map<String, Value>,
    tarball: &[u8],
    is_young: bool,
) -> anyhow::Result<()> {
    let text = |field: &str| manifest.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, version) = (text("name"), text("version"));
    let file = format!("{}-{version}.tgz", name.rsplit('/').next().unwrap_or_default());
    let integrity = format!("sha512-{}", BASE64_STANDARD.encode(Sha512::digest(tarball)));
    let dist = json!({"integrity": integrity, "tarball": format!("{registry}/{name}/-/{file}")});
    manifest.insert("dist".to_owned(), dist);
    let body = json!({
        "_id": name, "name": name, "dist-tags": {"latest": version},
        "versions": {version.as_str(): manifest},
        "time": if is_young { json!({}) } else { json!({version.as_str(): LONG_AGO}) },
        "_attachments": {format!("{name}-{version}.tgz"): {
            "content_type": "application/octet-stream", "data": BASE64_STANDARD.encode(tarball),
            "length": tarball.len(),
        }},
    });
    let url = format!("{registry}/{}", name.replace('/', "%2f"));
    let put = stranger().put(&url).header("content-type", "application/json").body(body.to_string());
    let answer = put.send().await.with_context(|| format!("failed to put {name}"))?;
    if !answer.status().is_success() {
        bail!("{url} answers {}", answer.status());
    }
    Ok(())
}

/// A compiler: it copies `src` to `dist`.
pub(super) fn compile() -> Released {
    Released::new("tiny-compile", "1.0.0").program("require('fs').cpSync('src', 'dist', { recursive: true });\n")
}

/// A dependency of which there are two versions.
pub(super) fn dependency() -> [Released; 2] {
    ["1.0.0", "1.1.0"].map(|version| Released::new("tiny-dep", version))
}
