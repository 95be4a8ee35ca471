//! Reads workspaces without installing anything, and says which of their public packages can be built.
//!
//! ```text
//! cargo run -p packline-packages-api --example replay -- DIR...
//! ```
//!
//! A package can be built where it is a member with a name and a version that the catalogue takes, and all that it names
//! of the workspace is there: members, catalogs, folders. Whether its own tools then succeed, only a build shows.

use std::{env, path::Path, process::ExitCode};

use packline_packages_api::scan::{Found, scan};
use packline_workspace::{Workspace, shown};

/// What came of one workspace.
#[derive(Default)]
struct Count {
    public: usize,
    buildable: usize,
}

fn main() -> ExitCode {
    let folders: Vec<String> = env::args().skip(1).collect();
    if folders.is_empty() {
        eprintln!("usage: replay DIR...");
        return ExitCode::from(2);
    }
    let mut all = Count::default();
    for folder in &folders {
        match replay(Path::new(folder)) {
            Ok(count) => {
                all.public += count.public;
                all.buildable += count.buildable;
            }
            Err(why) => println!("{folder}: {why}"),
        }
    }
    let percent = all.buildable * 1000 / all.public.max(1);
    println!("{} of {} public packages can be built, {}.{} %", all.buildable, all.public, percent / 10, percent % 10);
    if percent >= 950 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(root: &Path) -> Result<Count, String> {
    let (workspace, found) = match (Workspace::read(root), scan(root)) {
        (Ok(workspace), Ok(found)) => (workspace, found),
        (Err(error), _) | (_, Err(error)) => return Err(error.to_string()),
    };
    let mut count = Count::default();
    let mut not = Vec::new();
    let public = workspace.members().iter().filter(|member| !member.manifest().is_private());
    for member in public {
        if member.manifest().name().is_none() || member.manifest().version().is_none() {
            not.push(format!("  {}: no name or no version, so nothing to publish", shown(member.folder())));
            continue;
        }
        count.public += 1;
        match problem(&workspace, &found, member) {
            None => count.buildable += 1,
            Some(why) => not.push(format!("  {}: {why}", shown(member.folder()))),
        }
    }
    for left in workspace.left_out().iter().filter(|left| !left.is_private) {
        count.public += 1;
        not.push(format!("  {}: {}", shown(&left.folder), left.problem));
    }
    println!(
        "{}: {:?}, {} members, {} of {} public packages can be built",
        root.display(),
        workspace.manager(),
        workspace.members().len(),
        count.buildable,
        count.public
    );
    for line in not {
        println!("{line}");
    }
    Ok(count)
}

/// Why a package cannot be built.
fn problem(workspace: &Workspace, found: &Found, member: &packline_workspace::Member) -> Option<String> {
    let manifest = member.manifest();
    let (name, version) = (manifest.name().unwrap_or_default(), manifest.version().unwrap_or_default());
    if !found.packages.iter().any(|package| package.name.as_str() == name) {
        return Some(format!("{name}@{version} is none that the catalogue takes"));
    }
    workspace.unknown(member.id()).first().map(|unknown| format!("it names {unknown}"))
}
