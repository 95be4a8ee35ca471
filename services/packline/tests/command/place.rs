//! A workspace of a person's own, and `packline up` on it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use packline_packages_api::store::Store;
use packline_testkit::process::{Process, command};
use serde_json::{Value, json};
use tempfile::TempDir;

/// For a whole run on a busy machine, from a build that may not be warm.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// What each package exports.
pub(crate) const INDEX: &str = "module.exports = 'ours';\n";

/// A workspace, with a folder for temporary files beside it.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// An empty workspace.
    pub(crate) fn new() -> Self {
        let place = Self::unwritten();
        fs::create_dir(place.workspace()).unwrap();
        place.workspaces(&["packages/*"]);
        place
    }

    /// Writes the manifest of the root.
    pub(crate) fn workspaces(&self, workspaces: &[&str]) {
        self.root(&json!({"name": "own", "private": true, "workspaces": workspaces}));
    }

    /// The same with all its fields.
    pub(crate) fn root(&self, manifest: &Value) {
        fs::write(self.workspace().join("package.json"), manifest.to_string()).unwrap();
    }

    /// A workspace on which `packline up` of 766d1c3 has worked.
    pub(crate) fn recorded(name: &str) -> Self {
        let place = Self::unwritten();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/766d1c3");
        let archive = fs::File::open(fixture.join(format!("{name}.tar.gz"))).unwrap();
        tar::Archive::new(flate2::read::GzDecoder::new(archive)).unpack(place.workspace()).unwrap();
        place
    }

    fn unwritten() -> Self {
        let place = Self { folder: tempfile::Builder::new().prefix("up-test-").tempdir().unwrap() };
        fs::create_dir(place.folder().join("tmp")).unwrap();
        place
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder().join("workspace")
    }

    /// Writes `@own/<name>`, with `more` in its manifest.
    pub(crate) fn package(&self, name: &str, version: &str, more: &Value) {
        self.package_in(&format!("packages/{name}"), name, version, more);
    }

    /// The same in any folder of the workspace.
    pub(crate) fn package_in(&self, folder: &str, name: &str, version: &str, more: &Value) {
        let folder = self.workspace().join(folder);
        fs::create_dir_all(&folder).unwrap();
        let mut manifest = json!({"name": format!("@own/{name}"), "version": version});
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        fs::write(folder.join("index.js"), INDEX).unwrap();
    }

    /// Starts it; each start has a log of its own.
    pub(crate) fn up(&self, start: &str, arguments: &[&str]) -> Process {
        self.up_with(start, arguments, &[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn up_with(&self, start: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        let mut up = command(env!("CARGO_BIN_EXE_packline"));
        up.arg("up").arg("--workspace").arg(self.workspace()).args(arguments);
        up.env("TMPDIR", self.folder().join("tmp"));
        for name in ["RUST_LOG", "LEASE", "CLAIM"] {
            up.env_remove(name);
        }
        up.envs(variables.iter().copied()).current_dir(self.folder());
        Process::spawn("packline", up, &self.folder().join(format!("{start}.log"))).unwrap()
    }

    /// The catalogue of a line that was up.
    pub(crate) fn catalogue(&self) -> Store {
        Store::open(&self.workspace().join(".packline/catalogue.db")).unwrap()
    }

    /// What the local registry keeps of a version.
    pub(crate) fn tarball(&self, name: &str, version: &str) -> PathBuf {
        let storage = self.workspace().join(".packline/registry/storage/@own");
        storage.join(name).join(format!("{name}-{version}.tgz"))
    }
}
