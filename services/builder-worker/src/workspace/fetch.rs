//! Tarballs of a registry, unpacked.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use packline_npm::{Client, Packument};
use sha2::{Digest, Sha256, Sha512};

use crate::{
    manifest,
    phase::{Failure, Runner},
};

/// The longest answer of a registry.
const WITHIN: Duration = Duration::from_secs(60);
/// The largest tarball, packed, in bytes.
const LARGEST: u64 = 1024 * 1024 * 1024;
/// The same, unpacked.
const UNPACKED: u64 = 4 * 1024 * 1024 * 1024;

/// A version at a registry.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) integrity: String,
    /// Where its tarball is.
    tarball: String,
}

impl Release {
    /// `None` where the registry has no such version, or does not say what is in it.
    pub(crate) fn of(name: &str, version: &str, found: &Packument) -> Option<Self> {
        let there = found.versions.get(version)?;
        let (integrity, tarball) = (there.integrity.clone()?, there.tarball.clone()?);
        Some(Self { name: name.to_owned(), version: version.to_owned(), integrity, tarball })
    }

    /// Unpacks it to the folder `to`. `work` is a folder for the tarball, and `also` another hash that this must have: its
    /// kind and hexadecimal digits.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn unpack(
        &self,
        client: &Client,
        work: &Path,
        to: PathBuf,
        also: Option<(String, String)>,
        runner: &mut Runner,
    ) -> Result<(), Failure> {
        let Self { name, version, integrity, tarball } = self;
        let file = work.join(format!("{}.tgz", name.replace('/', "+")));
        let download = runner.unless_stopped(client.download(tarball, &file, LARGEST, WITHIN)).await;
        let failed = |why: String| Failure::infrastructure(format!("failed to fetch {name}@{version}: {why}"));
        download.ok_or_else(Failure::killed)?.map_err(|refusal| failed(refusal.message))?;
        let integrity = integrity.clone();
        let unpacked = tokio::task::spawn_blocking(move || {
            let is = manifest::integrity(&file)?;
            if !integrity.split_whitespace().any(|one| one == is) {
                return Err(io::Error::other(format!("its integrity is {is}, not {integrity}")));
            }
            if let Some((kind, digits)) = also {
                check(&file, &kind, &digits)?;
            }
            packline_layers::unpack(fs::File::open(&file)?, &to, UNPACKED).map_err(io::Error::other)?;
            fs::remove_file(&file)
        });
        unpacked.await.map_err(io::Error::other).flatten().map_err(|error| failed(error.to_string()))
    }
}

/// Compares the hash of a file with one that `packageManager` names.
fn check(file: &Path, kind: &str, digits: &str) -> io::Result<()> {
    let contents = fs::read(file)?;
    let is = match kind {
        "sha512" => hex::encode(Sha512::digest(&contents)),
        "sha256" => hex::encode(Sha256::digest(&contents)),
        // What others there are nobody takes for a proof.
        _ => return Ok(()),
    };
    match is.eq_ignore_ascii_case(digits) {
        true => Ok(()),
        false => Err(io::Error::other(format!("packageManager names the {kind} {digits}, and it is {is}"))),
    }
}

/// What the registry has of a package.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn look(client: &Client, name: &str) -> Result<Option<Packument>, Failure> {
    let looked = client.look(name, WITHIN).await;
    looked.map_err(|refusal| Failure::infrastructure(format!("failed to look {name} up: {}", refusal.message)))
}
