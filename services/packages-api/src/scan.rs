//! Reads an npm workspace: which packages it has, and which of them need which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher};
use packline_domain::{Package, PackageName, PackagePath};
use serde_json::{Value, json};

/// What a workspace holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Its packages, in the order of their names.
    pub packages: Vec<Package>,
    /// What was left out, or will surprise; one line each.
    pub notes: Vec<String>,
    /// Folders that were left out, relative to the workspace, although others may need what they hold: they
    /// are not private, or were not understood at all.
    pub left_out: Vec<PathBuf>,
}

/// Why a folder cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The folder, or its package.json, cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// It is no npm workspace.
    #[error("{path} {problem}")]
    NoWorkspace {
        /// Its package.json.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Fields of a package.json whose entries must be published first.
const NEEDED: [&str; 3] = ["dependencies", "peerDependencies", "optionalDependencies"];

/// Reads the workspace in `root`. Dependencies of all four kinds on other members of it are kept; those of
/// `devDependencies` that close a cycle are left out, and said so.
///
/// # Errors
/// When `root` has no readable package.json with `workspaces`. A member that is not understood is left out
/// and noted.
pub fn scan(root: &Path) -> Result<Found, ScanError> {
    let patterns = patterns(root)?;
    let mut folders = BTreeSet::new();
    walk(root, Path::new(""), &mut folders)?;
    let mut found = Found::default();
    let mut members: BTreeMap<PackageName, Member> = BTreeMap::new();
    for folder in folders.into_iter().filter(|folder| selected(&patterns, folder)) {
        match Member::read(root, &folder) {
            Err(refused) => {
                found.notes.push(format!("{} is left out: {}", folder.display(), refused.problem));
                found.left_out.extend((!refused.is_private).then_some(folder));
            }
            Ok((name, member)) => match members.get(&name) {
                Some(first) => {
                    found.notes.push(format!(
                        "{} is left out: {name} stands in {} already",
                        folder.display(),
                        first.folder.display()
                    ));
                    found.left_out.push(folder);
                }
                None => {
                    if member.package.folder().below_root() != folder {
                        found.notes.push(format!(
                            "{name} is in {:?}, which is no path of a package; workers look for it in {}",
                            folder,
                            member.package.folder()
                        ));
                    }
                    members.insert(name, member);
                }
            },
        }
    }
    let needs = dependencies(&members, &mut found.notes);
    for (name, member) in members {
        let mut package = member.package;
        package.dependencies = needs.get(&name).into_iter().flatten().cloned().collect();
        found.packages.push(package);
    }
    Ok(found)
}

/// One member of the workspace.
struct Member {
    folder: PathBuf,
    package: Package,
    needed: BTreeSet<String>,
    needed_to_develop: BTreeSet<String>,
}

/// A folder that is no member.
struct Refused {
    problem: String,
    /// It was never to be published, so nobody misses it.
    is_private: bool,
}

impl Member {
    fn read(root: &Path, folder: &Path) -> Result<(PackageName, Self), Refused> {
        let manifest = manifest(&root.join(folder).join("package.json"))
            .map_err(|error| Refused { problem: error.to_string(), is_private: false })?;
        let is_private = manifest.get("private") == Some(&Value::Bool(true));
        Self::of(&manifest, folder).map_err(|problem| Refused { problem, is_private })
    }

    fn of(manifest: &Value, folder: &Path) -> Result<(PackageName, Self), String> {
        let own = match manifest.get("packline") {
            None => &Value::Null,
            Some(own @ Value::Object(_)) => own,
            Some(_) => return Err("`packline` in its package.json is an object with `priority` and `category`".into()),
        };
        let mut package = Package::parse(&json!({
            "name": manifest.get("name").unwrap_or(&Value::Null),
            "priority": own.get("priority"),
            "category": own.get("category"),
            "version": manifest.get("version"),
        }))?;
        // Those who poll see no difference where a package is in the usual folder.
        let path = folder.to_str().and_then(|text| text.parse::<PackagePath>().ok());
        package.path = path.filter(|path| !path.is_of_name(&package.name));
        let names = |field: &str| match manifest.get(field) {
            Some(Value::Object(entries)) => entries.keys().cloned().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let needed: BTreeSet<String> = NEEDED.into_iter().flat_map(names).collect();
        // what is needed in more than one way is needed
        let needed_to_develop = names("devDependencies").into_iter().filter(|name| !needed.contains(name)).collect();
        Ok((package.name.clone(), Self { folder: folder.into(), package, needed, needed_to_develop }))
    }
}

fn manifest(path: &Path) -> Result<Value, ScanError> {
    let bytes = fs::read(path).map_err(|source| ScanError::Read { path: path.into(), source })?;
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    serde_json::from_slice(text)
        .map_err(|error| ScanError::NoWorkspace { path: path.into(), problem: format!("is not JSON: {error}") })
}

/// A pattern of `workspaces`: of those that match a folder, the last one decides.
struct Pattern {
    takes: bool,
    matcher: GlobMatcher,
}

fn patterns(root: &Path) -> Result<Vec<Pattern>, ScanError> {
    let path = root.join("package.json");
    let manifest = manifest(&path)?;
    let refuse = |problem: String| ScanError::NoWorkspace { path: path.clone(), problem };
    let wanted = "has no `workspaces`, an array of folders like \"packages/*\"";
    let list = match manifest.get("workspaces") {
        Some(Value::Array(list)) => list,
        Some(Value::Object(fields)) => {
            fields.get("packages").and_then(Value::as_array).ok_or_else(|| refuse(wanted.into()))?
        }
        _ => return Err(refuse(wanted.into())),
    };
    list.iter()
        .map(|item| {
            let text = item.as_str().ok_or_else(|| refuse(wanted.into()))?;
            let (takes, glob) = text.strip_prefix('!').map_or((true, text), |rest| (false, rest));
            let glob = glob.trim_start_matches("./").trim_end_matches('/');
            let matcher = GlobBuilder::new(glob).literal_separator(true).build();
            let matcher = matcher.map_err(|error| refuse(format!("has a pattern that is none: {error}")))?;
            Ok(Pattern { takes, matcher: matcher.compile_matcher() })
        })
        .collect()
}

fn selected(patterns: &[Pattern], folder: &Path) -> bool {
    patterns.iter().rev().find(|pattern| pattern.matcher.is_match(folder)).is_some_and(|pattern| pattern.takes)
}

/// All folders with a package.json below `root`, relative to it. Links are not followed.
fn walk(root: &Path, folder: &Path, into: &mut BTreeSet<PathBuf>) -> Result<(), ScanError> {
    let path = root.join(folder);
    let failed = |source| ScanError::Read { path: path.clone(), source };
    for item in fs::read_dir(&path).map_err(failed)? {
        let item = item.map_err(failed)?;
        let name = item.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        if hidden || name == "node_modules" || !item.file_type().map_err(failed)?.is_dir() {
            continue;
        }
        let below = folder.join(&name);
        if item.path().join("package.json").is_file() {
            into.insert(below.clone());
        }
        walk(root, &below, into)?;
    }
    Ok(())
}

type Needs = BTreeMap<PackageName, BTreeSet<PackageName>>;

/// What of the workspace each member needs. Real dependencies first, so that only development edges give way.
fn dependencies(members: &BTreeMap<PackageName, Member>, notes: &mut Vec<String>) -> Needs {
    let within = |names: &BTreeSet<String>| -> BTreeSet<PackageName> {
        names.iter().filter_map(|name| name.parse().ok()).filter(|name| members.contains_key(name)).collect()
    };
    let mut needs: Needs = members.iter().map(|(name, member)| (name.clone(), within(&member.needed))).collect();
    for (name, member) in members {
        for needed in within(&member.needed_to_develop) {
            if leads_to(&needs, &needed, name) {
                notes.push(format!("{name} needs {needed} for its development only, which closes a cycle: left out"));
            } else {
                needs.entry(name.clone()).or_default().insert(needed);
            }
        }
    }
    needs
}

/// Whether `from` is `to`, or needs it in any number of steps.
fn leads_to(needs: &Needs, from: &PackageName, to: &PackageName) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            open.extend(needs.get(name).into_iter().flatten());
        }
    }
    false
}
