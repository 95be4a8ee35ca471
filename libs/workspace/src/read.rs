//! Which kind of workspace a folder is, and who its members are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    Kind, LeftOut, Manager, Manifest, ManifestError, Member, MemberId, Workspace, WorkspaceError, classic, find,
    graph::Graph, manager, member, pattern::Patterns, rules::Rules, shown, yaml,
};

pub(crate) fn read(root: &Path) -> Result<Workspace, WorkspaceError> {
    let root = root.canonicalize().map_err(|source| WorkspaceError::Read { path: root.to_owned(), source })?;
    let file = root.join("package.json");
    let rush = root.join("rush.json");
    if rush.is_file() && !file.is_file() {
        return Err(no_workspace(
            &rush,
            "makes this a workspace of Rush, which is not supported: npm, pnpm, Yarn and lerna are",
        ));
    }
    let manifest = Manifest::read(&file).map_err(|error| refusal(&file, error))?;
    let (manager, notes) = manager::of(&root, &manifest);
    let settings = settings(&root, manager)?;
    let (kind, patterns) = kind(&root, &file, &manifest, manager, &settings)?;
    let mut folders = match &patterns {
        None => find::Folders { found: BTreeSet::from([PathBuf::new()]), notes: Vec::new() },
        Some(patterns) => find::folders(&root, patterns),
    };
    let is_ours = manager == Manager::Pnpm || manager == Manager::YarnBerry;
    if is_ours && kind == Kind::Workspaces {
        folders.found.remove(Path::new(""));
        // For them the root is a package like others. A private one has nothing that a build of it would make.
        if !manifest.is_private() && manifest.name().is_some() && manifest.version().is_some() {
            folders.found.insert(PathBuf::new());
        }
    }
    if manager == Manager::YarnBerry {
        add_inner(&root, &mut folders);
    }
    let (members, left_out) = members(&root, kind, manager, folders.found);
    folders.notes.dedup();
    let mut notes = [notes, folders.notes].concat();
    let lock = lock(&root, manager).unwrap_or_else(|note| {
        notes.push(note);
        None
    });
    let rules = Rules::of((&root, &manifest), kind, manager, &settings, lock.as_ref());
    let graph = Graph::new(&root, &rules, &members);
    let edges = graph.edges();
    let misfits = members.iter().map(|member| (member.id(), graph.misfits_of(member.manifest()))).collect();
    let linked_by_root = if kind == Kind::Single { BTreeSet::new() } else { graph.linked_by(&manifest) };
    let unknown: BTreeMap<MemberId, Vec<String>> = members
        .iter()
        .map(|member| (member.id(), graph.unknown_of(member.manifest(), member.real_folder())))
        .filter(|(_, unknown)| !unknown.is_empty())
        .collect();
    for member in &members {
        let unknown = unknown.get(&member.id()).into_iter().flatten();
        notes.extend(unknown.map(|unknown| format!("{} names {unknown}", shown(member.folder()))));
    }
    let lock = lock.map(Arc::new);
    Ok(Workspace {
        unknown,
        root,
        kind,
        manager,
        settings,
        lock,
        manifest,
        members,
        left_out,
        notes,
        edges,
        misfits,
        linked_by_root,
    })
}

/// What the manager's own file of settings says.
fn settings(root: &Path, manager: Manager) -> Result<Value, WorkspaceError> {
    let file = match manager {
        Manager::Npm | Manager::YarnClassic => return Ok(Value::Null),
        Manager::Pnpm => root.join("pnpm-workspace.yaml"),
        Manager::YarnBerry => root.join(".yarnrc.yml"),
    };
    match fs::read_to_string(&file) {
        Ok(text) => match yaml::parse(&text).map_err(|problem| no_workspace(&file, problem))? {
            settings @ (Value::Object(_) | Value::Null) => Ok(settings),
            _ => Err(no_workspace(&file, "is no list of settings, each a name and a value")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Value::Null),
        Err(source) => Err(WorkspaceError::Read { path: file, source }),
    }
}

/// The lock file of pnpm or Yarn.
///
/// # Errors
/// A note, where it cannot be read.
fn lock(root: &Path, manager: Manager) -> Result<Option<Value>, String> {
    let name = match manager {
        // It is read where it is needed.
        Manager::Npm => return Ok(None),
        Manager::Pnpm => "pnpm-lock.yaml",
        Manager::YarnClassic | Manager::YarnBerry => "yarn.lock",
    };
    match fs::read_to_string(root.join(name)) {
        Ok(text) if manager == Manager::YarnClassic => Ok(Some(classic::parse(&text))),
        Ok(text) => yaml::parse_last(&text).map(Some).map_err(|problem| format!("{name} {problem}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{name} cannot be read: {error}")),
    }
}

/// A member of a workspace of Yarn may have members itself.
fn add_inner(root: &Path, folders: &mut find::Folders) {
    let mut open: Vec<PathBuf> =
        folders.found.iter().filter(|folder| !folder.as_os_str().is_empty()).cloned().collect();
    while let Some(folder) = open.pop() {
        let Ok(manifest) = Manifest::read(&root.join(&folder).join("package.json")) else { continue };
        let Some(workspaces) = manifest.get("workspaces") else { continue };
        let list = workspaces.get("packages").unwrap_or(workspaces);
        let Ok(patterns) = patterns(Manager::YarnBerry, list) else { continue };
        let inner = find::folders(&root.join(&folder), &patterns);
        folders.notes.extend(inner.notes);
        for found in inner.found.into_iter().map(|found| folder.join(found)) {
            if folders.found.insert(found.clone()) {
                open.push(found);
            }
        }
    }
}

fn refusal(path: &Path, error: ManifestError) -> WorkspaceError {
    match error {
        ManifestError::Read(source) => WorkspaceError::Read { path: path.to_owned(), source },
        error => no_workspace(path, error.to_string()),
    }
}

fn no_workspace(path: &Path, problem: impl Into<String>) -> WorkspaceError {
    WorkspaceError::NoWorkspace { path: path.to_owned(), problem: problem.into() }
}

fn kind(
    root: &Path,
    file: &Path,
    manifest: &Manifest,
    manager: Manager,
    settings: &Value,
) -> Result<(Kind, Option<Patterns>), WorkspaceError> {
    let (file_of_list, list) = match manager {
        Manager::Pnpm => (root.join("pnpm-workspace.yaml"), settings.get("packages")),
        _ => {
            let workspaces = manifest.get("workspaces").filter(|value| !value.is_null());
            (file.to_owned(), workspaces.map(|workspaces| workspaces.get("packages").unwrap_or(workspaces)))
        }
    };
    let field = if manager == Manager::Pnpm { "packages" } else { "workspaces" };
    if let Some(list) = list {
        let patterns = patterns(manager, list).map_err(|problem| {
            let unlike = || format!("has `{field}` that are not an array of folders like \"packages/*\"");
            no_workspace(&file_of_list, problem.unwrap_or_else(unlike))
        })?;
        return Ok((Kind::Workspaces, Some(patterns)));
    }
    let lerna = root.join("lerna.json");
    match Manifest::read(&lerna) {
        Ok(settings) => {
            let list = settings.get("packages").cloned().unwrap_or_else(|| Value::from(vec!["packages/*"]));
            let patterns = patterns(Manager::Npm, &list).map_err(|problem| {
                no_workspace(
                    &lerna,
                    problem.unwrap_or("has `packages` that are not an array of folders like \"packages/*\"".into()),
                )
            })?;
            return Ok((Kind::Lerna, Some(patterns)));
        }
        Err(ManifestError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refusal(&lerna, error)),
    }
    let missing = match (manifest.name(), manifest.version()) {
        (Some(_), Some(_)) => return Ok((Kind::Single, None)),
        (Some(_), None) => "no version",
        (None, Some(_)) => "no name",
        (None, None) => "no name and no version",
    };
    let lacks = match (manager, manifest.get("workspaces")) {
        (Manager::Pnpm, Some(_)) => {
            "has `workspaces`, which pnpm does not read: it reads `packages` of pnpm-workspace.yaml, a list of folders like \
             \"packages/*\". It"
        }
        (Manager::Pnpm, None) => {
            "has no pnpm-workspace.yaml with `packages`, a list of folders like \"packages/*\", and"
        }
        _ => "has no `workspaces`, an array of folders like \"packages/*\", and",
    };
    Err(no_workspace(file, format!("{lacks} is no package by itself: it has {missing}")))
}

/// # Errors
/// What is wrong with a pattern; `None` where it is no list of texts.
fn patterns(manager: Manager, list: &Value) -> Result<Patterns, Option<String>> {
    Patterns::parse(manager, texts(list).ok_or(None)?).map_err(Some)
}

fn texts(list: &Value) -> Option<Vec<&str>> {
    list.as_array().and_then(|list| list.iter().map(Value::as_str).collect())
}

/// Reads the members in `folders`; a folder without a package.json is none.
fn members(root: &Path, kind: Kind, manager: Manager, folders: BTreeSet<PathBuf>) -> (Vec<Member>, Vec<LeftOut>) {
    let mut left_out = Vec::new();
    let mut read = Vec::new();
    for folder in folders {
        let mut refuse =
            |problem: String, is_private| left_out.push(LeftOut { folder: folder.clone(), problem, is_private });
        let manifest = match Manifest::read(&root.join(&folder).join("package.json")) {
            Ok(manifest) => manifest,
            Err(ManifestError::Read(error))
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(error) => {
                refuse(format!("its package.json {error}"), false);
                continue;
            }
        };
        let is_private = manifest.is_private();
        let real = root.join(&folder).canonicalize().ok();
        let Some(real_folder) = real.and_then(|real| real.strip_prefix(root).ok().map(Path::to_owned)) else {
            refuse("it is a link to a folder outside of the workspace".into(), is_private);
            continue;
        };
        let is_whole = manifest.name().is_some() && manifest.version().is_some();
        if manager == Manager::YarnClassic && kind == Kind::Workspaces && !is_whole {
            refuse("yarn 1 takes no member without a name and a version".into(), is_private);
            continue;
        }
        let link_name = member::link_name(manager, &folder, &manifest);
        read.push(Member { id: MemberId::new(0), folder, real_folder, manifest, link_name });
    }
    let first = first_of_each_name(manager, &read);
    let mut members = Vec::<Member>::new();
    for member in read {
        match member.link_name.as_ref().and_then(|name| Some((name, first.get(name)?))) {
            Some((name, first)) if *first != member.folder => left_out.push(LeftOut {
                problem: format!("{} is in {} already", shown(name), shown(first)),
                is_private: member.manifest.is_private(),
                folder: member.folder,
            }),
            _ => members.push(Member { id: MemberId::new(members.len()), ..member }),
        }
    }
    left_out.sort_by(|one, other| one.folder.cmp(&other.folder));
    (members, left_out)
}

/// Who of several members of one name stays. pnpm installs them all, so one that is published goes before private ones.
fn first_of_each_name(manager: Manager, members: &[Member]) -> HashMap<String, PathBuf> {
    let mut first: HashMap<String, &Member> = HashMap::new();
    for member in members {
        let Some(name) = member.link_name() else { continue };
        let goes_before =
            |first: &Member| manager == Manager::Pnpm && first.manifest.is_private() && !member.manifest.is_private();
        if first.get(&name).is_none_or(|first| goes_before(first)) {
            first.insert(name, member);
        }
    }
    first.into_iter().map(|(name, member)| (name, member.folder.clone())).collect()
}
