//! Which kind of workspace a folder is, and who its members are.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    Kind, LeftOut, Manager, Manifest, ManifestError, Member, MemberId, Workspace, WorkspaceError, find, graph::Graph,
    pattern::Patterns, shown,
};

pub(crate) fn read(root: &Path) -> Result<Workspace, WorkspaceError> {
    let root = root.canonicalize().map_err(|source| WorkspaceError::Read { path: root.to_owned(), source })?;
    let file = root.join("package.json");
    let manifest = Manifest::read(&file).map_err(|error| refusal(&file, error))?;
    let (kind, patterns) = kind(&root, &file, &manifest)?;
    let (folders, mut notes) = match &patterns {
        None => (BTreeSet::from([PathBuf::new()]), Vec::new()),
        Some(patterns) => {
            let folders = find::folders(&root, patterns);
            (folders.found, folders.notes)
        }
    };
    let (members, left_out) = members(&root, folders);
    notes.dedup();
    let graph = Graph::new(&root, kind, &members);
    let edges = graph.edges();
    let misfits = members.iter().map(|member| (member.id(), graph.misfits_of(member.manifest()))).collect();
    let linked_by_root = if kind == Kind::Single { BTreeSet::new() } else { graph.linked_by(&manifest) };
    let manager = Manager::of(&root, &manifest);
    Ok(Workspace { root, kind, manager, manifest, members, left_out, notes, edges, misfits, linked_by_root })
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

fn kind(root: &Path, file: &Path, manifest: &Manifest) -> Result<(Kind, Option<Patterns>), WorkspaceError> {
    if let Some(workspaces) = manifest.get("workspaces").filter(|value| !value.is_null()) {
        let list = workspaces.get("packages").unwrap_or(workspaces);
        let patterns = patterns(list).map_err(|problem| {
            no_workspace(
                file,
                problem.unwrap_or("has `workspaces` that are not an array of folders like \"packages/*\"".into()),
            )
        })?;
        return Ok((Kind::Workspaces, Some(patterns)));
    }
    let pnpm = root.join("pnpm-workspace.yaml");
    if pnpm.exists() {
        return Err(no_workspace(
            &pnpm,
            "makes it a workspace of pnpm, which is not supported yet; npm workspaces, lerna.json and single packages are",
        ));
    }
    let lerna = root.join("lerna.json");
    match Manifest::read(&lerna) {
        Ok(settings) => {
            let list = settings.get("packages").cloned().unwrap_or_else(|| Value::from(vec!["packages/*"]));
            let patterns = patterns(&list).map_err(|problem| {
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
    Err(no_workspace(
        file,
        format!(
            "has no `workspaces`, an array of folders like \"packages/*\", and is no package by itself: it has {missing}"
        ),
    ))
}

/// # Errors
/// What is wrong with a pattern; `None` where it is no list of texts.
fn patterns(list: &Value) -> Result<Patterns, Option<String>> {
    let texts: Option<Vec<&str>> = list.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
    Patterns::parse(texts.ok_or(None)?).map_err(Some)
}

/// Reads the members in `folders`; a folder without a package.json is none.
fn members(root: &Path, folders: BTreeSet<PathBuf>) -> (Vec<Member>, Vec<LeftOut>) {
    let (mut members, mut left_out) = (Vec::<Member>::new(), Vec::new());
    let mut first: HashMap<String, PathBuf> = HashMap::new();
    for folder in folders {
        let refuse = |problem: String, is_private| LeftOut { folder: folder.clone(), problem, is_private };
        let manifest = match Manifest::read(&root.join(&folder).join("package.json")) {
            Ok(manifest) => manifest,
            Err(ManifestError::Read(error))
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(error) => {
                left_out.push(refuse(format!("its package.json {error}"), false));
                continue;
            }
        };
        let is_private = manifest.is_private();
        let real = root.join(&folder).canonicalize().ok();
        let Some(real_folder) = real.and_then(|real| real.strip_prefix(root).ok().map(Path::to_owned)) else {
            left_out.push(refuse("it is a link to a folder outside of the workspace".into(), is_private));
            continue;
        };
        let member = Member { id: MemberId::new(members.len()), folder: folder.clone(), real_folder, manifest };
        if let Some(name) = member.link_name() {
            if let Some(first) = first.get(&name) {
                left_out.push(refuse(format!("{} is in {} already", shown(&name), shown(first)), is_private));
                continue;
            }
            first.insert(name, folder.clone());
        }
        members.push(member);
    }
    (members, left_out)
}
