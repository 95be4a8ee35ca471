//! A small workspace of a test's own, with a registry and a worker.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use packline_domain::{BuildOrder, BuildResult, phase::PhaseReport};
use packline_testkit::{process::Process, stand_in::StandIn, workspaces::Made};
use serde_json::{Value, json};

use crate::foreman::Foreman;

pub(crate) struct Yard {
    pub(crate) foreman: Foreman,
    pub(crate) registry: StandIn,
    worker: Option<Process>,
    root: Value,
}

impl Yard {
    /// An npm workspace with members below `packages`, whose root has these scripts.
    pub(crate) async fn new(scripts: Value) -> Self {
        let (foreman, registry) = (Foreman::new(Duration::from_secs(60)).await, StandIn::start().await);
        let root = json!({"name": "own", "private": true, "workspaces": ["packages/*"], "scripts": scripts});
        let yard = Self { foreman, registry, worker: None, root };
        yard.write("package.json", &yard.root.to_string());
        yard
    }

    /// Gives the root other scripts.
    pub(crate) fn scripts(&mut self, scripts: Value) {
        self.root.as_object_mut().unwrap().insert("scripts".to_owned(), scripts);
        self.write("package.json", &self.root.to_string());
    }

    /// Starts a worker in place of the one before, by a recipe that has no more than the table `[workspace]` with these lines.
    pub(crate) fn start(&mut self, options: &str) {
        let recipe = self.foreman.recipe(&format!("[workspace]\n{options}\n"));
        let url = self.registry.url();
        let settings = [("NPM_REGISTRY", url.as_str()), ("NPM_TOKEN", "t"), ("RECIPE", &recipe)];
        self.worker = None;
        self.worker = Some(self.foreman.worker("worker", &settings));
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let file = self.foreman.workspace().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.foreman.workspace().join(file)).unwrap();
    }

    /// Writes the package.json of a member, which packs `dist`.
    pub(crate) fn member(&self, name: &str, version: &str, more: Value) {
        let mut manifest =
            json!({"name": format!("@acme/{name}"), "version": version, "main": "dist/index.js", "files": ["dist"]});
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.write(&format!("packages/{name}/package.json"), &manifest.to_string());
    }

    /// A file outside of the workspace, in which scripts write down what they do.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.foreman.folder().join("ledger")
    }

    /// What scripts have written there since the last look.
    pub(crate) fn done(&self) -> Vec<String> {
        let text = fs::read_to_string(self.ledger()).unwrap_or_default();
        let _ = fs::remove_file(self.ledger());
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) async fn build(&mut self, name: &str) -> BuildResult {
        self.build_as(name, |_| {}).await
    }

    pub(crate) async fn build_as(&mut self, name: &str, change: impl FnOnce(&mut BuildOrder)) -> BuildResult {
        let mut order = self.foreman.grant(0, &format!("@acme/{name}")).await;
        order.package_path = format!("packages/{name}").parse().unwrap();
        change(&mut order);
        self.foreman.send(&order).await;
        self.foreman.outcome(&order).await
    }

    /// The files of a published version but for its package.json, each with its text.
    pub(crate) fn published(&self, name: &str, version: &str) -> Option<BTreeMap<String, String>> {
        let tarball = self.registry.tarball(&format!("@acme/{name}"), version)?;
        let Made::Packed(mut files) = Made::packed(&tarball).unwrap() else { panic!("a tarball") };
        files.remove("package.json");
        Some(files)
    }
}

/// The report of one phase.
pub(crate) fn phase<'r>(result: &'r BuildResult, name: &str) -> &'r PhaseReport {
    result.phases.iter().find(|report| report.name == name).unwrap_or_else(|| panic!("no {name}: {result:?}"))
}

/// Fails unless these files are published, each with its text.
pub(crate) fn assert_files(found: Option<BTreeMap<String, String>>, wanted: &[(&str, &str)]) {
    let wanted = wanted.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    assert_eq!(found, Some(wanted));
}
