//! What a case is made of.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::{process::command, tools::Pinned};

use super::Released;

/// The commit that a case with git starts from is the same each time.
const WHO: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "acme"),
    ("GIT_AUTHOR_EMAIL", "acme@example.org"),
    ("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z"),
    ("GIT_COMMITTER_NAME", "acme"),
    ("GIT_COMMITTER_EMAIL", "acme@example.org"),
    ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z"),
];

/// A workspace and what must come of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// A name for its folder: `root-tool`.
    pub name: &'static str,
    /// Why it does not build where each package is built by itself.
    pub cause: &'static str,
    /// What the registry holds beforehand.
    pub released: Vec<Released>,
    /// Its members, siblings before those that need them.
    pub members: Vec<Member>,
    /// The root's script that builds, where the members' own do not.
    pub root_build: Option<&'static str>,
    /// The Node and the package managers that it asks for, in the registry beforehand.
    pub programs: Vec<Pinned>,
    /// Whether it is a git checkout, at the tag v1.0.0.
    pub git: bool,
    /// Whether npm alone makes the same of a fresh checkout: install, builds in the order of the members, pack.
    pub by_npm: bool,
    root: Value,
    files: BTreeMap<String, String>,
    later: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
}

/// A package of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its folder in the workspace; `.` is the root.
    pub path: &'static str,
    /// What `package.json` says.
    pub manifest: Value,
    /// What must come of it.
    pub outcome: Outcome,
}

/// What must come of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The registry holds it with these files beside `package.json` and no other; each with its text, where that
    /// shows something.
    Published(BTreeMap<&'static str, Option<&'static str>>),
    /// It is private: built, and not published.
    Private,
    /// Its own tools fail in this phase, and these words are in the reason.
    Fails(&'static str, &'static str),
    /// It has no name or no version: part of the sources, and not built.
    Left,
}

impl Case {
    /// An npm workspace with members below `packages`.
    pub(super) fn new(name: &'static str, cause: &'static str) -> Self {
        Self {
            name,
            cause,
            released: Vec::new(),
            members: Vec::new(),
            root_build: None,
            programs: Vec::new(),
            git: false,
            by_npm: true,
            root: json!({"name": "own", "private": true, "workspaces": ["packages/*"]}),
            files: BTreeMap::new(),
            later: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    /// Fields of the root's `package.json`; null removes one.
    #[must_use]
    pub(super) fn root(mut self, fields: Value) -> Self {
        merge(&mut self.root, fields);
        self
    }

    /// What the registry holds.
    #[must_use]
    pub(super) fn with(mut self, released: impl IntoIterator<Item = Released>) -> Self {
        self.released.extend(released);
        self
    }

    /// A file.
    #[must_use]
    pub(super) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    /// A file that git ignores, or that came after the last commit.
    #[must_use]
    pub(super) fn later(mut self, path: &str, text: &str) -> Self {
        self.later.insert(path.to_owned(), text.to_owned());
        self
    }

    /// A symbolic link to a folder.
    #[must_use]
    pub(super) fn link(mut self, path: &str, target: &str) -> Self {
        self.links.insert(path.to_owned(), target.to_owned());
        self
    }

    /// A member in the folder `path`.
    #[must_use]
    pub(super) fn member(mut self, path: &'static str, mut manifest: Value, outcome: Outcome) -> Self {
        if let Outcome::Published(files) = &outcome
            && let Some(fields) = manifest.as_object_mut()
            && fields.get("main").and_then(Value::as_str).is_some_and(|main| !files.contains_key(main))
        {
            // No package is published without the entry file that it names.
            fields.remove("main");
        }
        self.members.push(Member { path, manifest, outcome });
        self
    }

    /// More fields of a member.
    #[must_use]
    pub(super) fn member_has(mut self, path: &str, fields: Value) -> Self {
        for member in self.members.iter_mut().filter(|member| member.path == path) {
            merge(&mut member.manifest, fields.clone());
        }
        self
    }

    /// The root's script that builds.
    #[must_use]
    pub(super) fn built_by(mut self, script: &'static str) -> Self {
        self.root_build = Some(script);
        self
    }

    /// A Node or a package manager that it asks for.
    #[must_use]
    pub(super) fn runs_by(mut self, programs: impl IntoIterator<Item = Pinned>) -> Self {
        self.programs.extend(programs);
        self
    }

    /// It is a git checkout.
    #[must_use]
    pub(super) fn git(mut self) -> Self {
        self.git = true;
        self
    }

    /// npm alone does not make the same of it.
    #[must_use]
    pub(super) fn beyond_npm(mut self) -> Self {
        self.by_npm = false;
        self
    }

    /// Writes it into `folder`, which it creates.
    ///
    /// # Errors
    /// When that cannot be written, or git does not run.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        for (path, target) in &self.links {
            let (path, beside) = (folder.join(path), Path::new(path).parent().unwrap_or(Path::new("")));
            fs::create_dir_all(folder.join(beside).join(target))
                .and_then(|()| {
                    fs::create_dir_all(folder.join(beside))?;
                    symlink(target, &path)
                })
                .with_context(|| format!("failed to link {}", path.display()))?;
        }
        let manifests = self.members.iter().map(|member| (member.path, &member.manifest));
        for (path, manifest) in [(".", &self.root)].into_iter().chain(manifests) {
            put(&folder.join(path).join("package.json"), &serde_json::to_string_pretty(manifest)?)?;
        }
        for (path, text) in &self.files {
            put(&folder.join(path), text)?;
        }
        if self.git {
            for words in
                [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "Start"], &["tag", "-am", "v1.0.0", "v1.0.0"]]
            {
                let mut git = command("git");
                let ended = git.args(words).envs(WHO).current_dir(folder).output().context("git does not run")?;
                if !ended.status.success() {
                    bail!("git {}: {}", words.join(" "), String::from_utf8_lossy(&ended.stderr));
                }
            }
        }
        self.later.iter().try_for_each(|(path, text)| put(&folder.join(path), text))
    }

    /// Puts what must be in the registry beforehand into this one.
    ///
    /// # Errors
    /// When it does not take it.
    pub async fn release(&self, registry: &str) -> anyhow::Result<()> {
        for released in &self.released {
            released.put(registry).await?;
        }
        for program in &self.programs {
            program.put(registry).await?;
        }
        Ok(())
    }
}

impl Member {
    /// Its name; empty where it has none.
    pub fn name(&self) -> &str {
        self.field("name")
    }

    /// Its version; empty where it has none.
    pub fn version(&self) -> &str {
        self.field("version")
    }

    /// A script of its `package.json`.
    pub fn script(&self, name: &str) -> Option<&str> {
        self.manifest.get("scripts")?.get(name)?.as_str()
    }

    fn field(&self, name: &str) -> &str {
        self.manifest.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Published with these files beside `package.json`.
pub(super) fn published(files: &[&'static str]) -> Outcome {
    Outcome::Published(files.iter().map(|path| (*path, None)).collect())
}

/// The same with their texts.
pub(super) fn holding(files: &[(&'static str, &'static str)]) -> Outcome {
    Outcome::Published(files.iter().map(|(path, text)| (*path, Some(*text))).collect())
}

/// A public package that packs `dist`, with more fields.
pub(super) fn package(name: &str, version: &str, more: Value) -> Value {
    let mut manifest = json!({"name": name, "version": version, "main": "dist/index.js", "files": ["dist"]});
    merge(&mut manifest, more);
    manifest
}

fn merge(into: &mut Value, fields: Value) {
    let (Some(into), Value::Object(fields)) = (into.as_object_mut(), fields) else { return };
    for (name, value) in fields {
        if value.is_null() {
            into.remove(&name);
        } else {
            into.insert(name, value);
        }
    }
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))?;
    if text.starts_with("#!") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
