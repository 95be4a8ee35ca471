//! Reads workspaces without installing anything, and says which of their public packages can be built.
//!
//! ```text
//! cargo run -p packline --example replay -- DIR...
//! ```
//!
//! A package counts where its member is not private and has a name and a version. It can be built where
//!
//! - the member is not left out: its `package.json` is understood, its folder is in the workspace, its name is its own;
//! - the catalogue takes its name, and a registry its version;
//! - the workspace has all that it names of it: members, versions of them, entries of catalogs;
//! - `packline up` publishes it by its `publishConfig`.
//!
//! Cycles do not count: some of their edges are cut, and a note of the scan says which. Whether its own tools then succeed,
//! only a build shows.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use packline_builder_worker::publish_config::PublishConfig;
use packline_packages_api::scan::scan;
use packline_workspace::{Kind, Manager, Manifest, Member, Workspace, satisfies, shown};
use serde_json::Value;

/// Of 1,000 public packages so many can be built.
const GOAL: usize = 950;

/// What came of workspaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    members: usize,
    public: usize,
    buildable: usize,
    /// Of those, the ones that a worker refuses unless its settings say otherwise.
    strict: usize,
    /// Folders that are no workspaces.
    unread: usize,
}

fn main() -> ExitCode {
    let folders: Vec<String> = env::args().skip(1).collect();
    if folders.is_empty() {
        eprintln!("usage: replay DIR...");
        return ExitCode::from(2);
    }
    let mut report = String::new();
    let count = replay(folders.iter().map(Path::new), &mut report);
    // Whoever reads the beginning only is content.
    let _ = io::stdout().write_all(report.as_bytes());
    if count.is_enough() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Count {
    /// In thousandths; all of nothing.
    fn share(self) -> usize {
        (self.buildable * 1000).checked_div(self.public).unwrap_or(1000)
    }

    fn is_enough(self) -> bool {
        self.unread == 0 && self.share() >= GOAL
    }
}

/// Writes lines for each of the workspaces, and one for all.
fn replay<'a>(folders: impl IntoIterator<Item = &'a Path>, report: &mut String) -> Count {
    let mut all = Count::default();
    for folder in folders {
        match replay_one(folder, report) {
            Ok(count) => {
                all.members += count.members;
                all.public += count.public;
                all.buildable += count.buildable;
                all.strict += count.strict;
            }
            Err(why) => {
                all.unread += 1;
                _ = writeln!(report, "{}: no workspace: {why}", folder.display());
            }
        }
    }
    let Count { members, public, buildable, strict, unread } = all;
    let (whole, tenth) = (all.share() / 10, all.share() % 10);
    _ = write!(report, "{buildable} of {public} public packages ({members} members) can be built, {whole}.{tenth} %");
    if strict > 0 {
        _ = write!(report, "; {strict} of them ask for what PUBLISH_CONFIG=refuse refuses");
    }
    if unread > 0 {
        _ = write!(report, "; {unread} folders are no workspaces");
    }
    report.push('\n');
    all
}

fn replay_one(root: &Path, report: &mut String) -> Result<Count, String> {
    let workspace = Workspace::read(root).map_err(|error| error.to_string())?;
    let found = scan(root).map_err(|error| error.to_string())?;
    let taken: BTreeSet<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
    let mut count = Count { members: workspace.members().len(), ..Count::default() };
    let mut lines = Vec::new();
    let mut incomplete = 0;
    for member in workspace.members().iter().filter(|member| !member.manifest().is_private()) {
        let manifest = member.manifest();
        if manifest.name().is_none() || manifest.version().is_none() {
            incomplete += 1;
            continue;
        }
        count.public += 1;
        match problem(&workspace, &taken, member) {
            Some(why) => lines.push(format!("  {}: {why}", shown(member.folder()))),
            None => {
                count.buildable += 1;
                count.strict += usize::from(refusal(PublishConfig::Refuse, manifest).is_some());
            }
        }
    }
    for left in workspace.left_out().iter().filter(|left| !left.is_private) {
        // Without a name or a version there is nothing to build.
        let manifest = Manifest::read(&root.join(&left.folder).join("package.json"));
        if manifest.is_ok_and(|manifest| manifest.name().is_none() || manifest.version().is_none()) {
            incomplete += 1;
            continue;
        }
        count.public += 1;
        lines.push(format!("  {}: {}", shown(&left.folder), left.problem));
    }
    let kind = match (workspace.kind(), workspace.manager()) {
        (Kind::Lerna, _) => "lerna",
        (_, Manager::Npm) => "npm",
        (_, Manager::Pnpm) => "pnpm",
        (_, Manager::YarnClassic) => "yarn 1",
        (_, Manager::YarnBerry) => "yarn",
    };
    let (Count { members, public, buildable, .. }, root) = (count, root.display());
    _ = writeln!(report, "{root}: {kind}, {members} members, {public} public, {buildable} can be built");
    for line in lines {
        _ = writeln!(report, "{line}");
    }
    if incomplete > 0 {
        _ = writeln!(report, "  not counted, without a name or a version: {incomplete}");
    }
    Ok(count)
}

/// Why a package cannot be built.
fn problem(workspace: &Workspace, taken: &BTreeSet<&str>, member: &Member) -> Option<String> {
    let manifest = member.manifest();
    let (name, version) = (manifest.name().unwrap_or_default(), manifest.version().unwrap_or_default());
    if !taken.contains(name) {
        return Some(format!("{name}@{version} is none that the catalogue takes"));
    }
    // A version is a range that it satisfies itself.
    if !satisfies(Some(version), version) {
        return Some(format!("its version {version:?} is none like 1.2.3"));
    }
    if let Some(unknown) = workspace.unknown(member.id()).first() {
        return Some(format!("it names {unknown}"));
    }
    refusal(PublishConfig::Ignore, manifest)
}

/// Why a worker with this setting does not publish it.
fn refusal(policy: PublishConfig, manifest: &Manifest) -> Option<String> {
    let config = manifest.get("publishConfig").and_then(Value::as_object)?;
    policy.check(config, packline_npm::DEFAULT_REGISTRY, &mut Vec::new()).err().map(|failure| failure.error)
}

#[cfg(test)]
mod tests {

    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn put(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn package(root: &Path, folder: &str, fields: Value) {
        put(root, &format!("{folder}/package.json"), &fields.to_string());
    }

    #[test]
    fn packages_that_cannot_be_built_are_named_with_their_reason() {
        let all = TempDir::new().unwrap();
        let pnpm = all.path().join("pnpm");
        put(&pnpm, "pnpm-workspace.yaml", "packages: ['packages/*']\ncatalog: {a: 1.0.0}\n");
        package(&pnpm, ".", json!({"name": "root", "private": true}));
        package(&pnpm, "packages/a", json!({"name": "a", "version": "1.0.0", "dependencies": {"b": "workspace:^"}}));
        package(&pnpm, "packages/b", json!({"name": "b", "version": "1.0.0", "dependencies": {"a": "catalog:"}}));
        package(&pnpm, "packages/c", json!({"name": "c", "version": "1.0.0", "dependencies": {"a": "workspace:^2"}}));
        package(&pnpm, "packages/d", json!({"name": "d", "version": "1.0.0", "dependencies": {"a": "catalog:old"}}));
        package(&pnpm, "packages/e", json!({"name": "e", "version": "one"}));
        package(&pnpm, "packages/f", json!({"name": "f", "version": "1.0.0", "publishConfig": {"proxy": "http://x"}}));
        package(&pnpm, "packages/g", json!({"name": "g", "version": "1.0.0", "publishConfig": {"provenance": true}}));
        package(&pnpm, "packages/h", json!({"version": "1.0.0"}));
        package(&pnpm, "packages/i", json!({"name": "i", "version": "1.0.0", "private": true}));
        put(&pnpm, "packages/j/package.json", "{");
        let yarn = all.path().join("yarn");
        package(&yarn, ".", json!({"private": true, "workspaces": ["*"], "packageManager": "yarn@4.18.1"}));
        package(&yarn, "a", json!({"name": "a", "version": "1.0.0"}));
        let empty = all.path().join("empty");

        let mut report = String::new();
        let count = replay([pnpm.as_path(), yarn.as_path(), empty.as_path()], &mut report);
        let report = report.replace(&all.path().display().to_string(), "DIR");
        let (before, after) = report.split_once("DIR/empty: no workspace: ").unwrap();
        assert_eq!(
            before,
            "DIR/pnpm: pnpm, 9 members, 8 public, 3 can be built\n\
             \u{20} packages/c: it names a as \"workspace:^2\", and packages/a has version 1.0.0\n\
             \u{20} packages/d: it names a as \"catalog:old\", which no catalog has\n\
             \u{20} packages/e: its version \"one\" is none like 1.2.3\n\
             \u{20} packages/f: publishConfig sets `proxy`; only access, tag, provenance, directory, linkDirectory and the \
             worker's own registry may stand there\n\
             \u{20} packages/j: its package.json is not JSON: expected a key in double quotes, found the end of the document \
             at line 1, column 2\n\
             \u{20} not counted, without a name or a version: 1\n\
             DIR/yarn: yarn, 1 members, 1 public, 1 can be built\n"
        );
        let last = after.lines().last().unwrap();
        assert_eq!(
            last,
            "4 of 9 public packages (10 members) can be built, 44.4 %; 1 of them ask for what PUBLISH_CONFIG=refuse \
             refuses; 1 folders are no workspaces"
        );
        assert_eq!(count, Count { members: 10, public: 9, buildable: 4, strict: 1, unread: 1 });
        assert!(!count.is_enough());
        let all_of_yarn = replay([yarn.as_path()], &mut String::new());
        assert!(all_of_yarn.is_enough() && Count { public: 100, buildable: 95, ..Count::default() }.is_enough());
        assert!(!Count { public: 1000, buildable: 949, ..Count::default() }.is_enough());
    }
}
