//! Takes the packages of a workspace into the catalogue: which are to be built, and which of them need which.

mod needs;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use packline_domain::{Package, PackageName, PackagePath};
use packline_versions::Wanted;
use packline_workspace::{Member, MemberId, Workspace, WorkspaceError, shown};
use serde_json::{Value, json};

/// Members that one note names; of more it gives the number.
const NAMED: usize = 10;

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

/// Reads the workspace in `root`. A package depends on the members without which it can neither be built nor installed,
/// and is built after those that it may use; in a cycle some do not wait, and a note names those that say that they do.
///
/// # Errors
/// When there is no workspace in `root`. A member that is not understood is left out and noted.
pub fn scan(root: &Path) -> Result<Found, WorkspaceError> {
    let workspace = Workspace::read(root)?;
    let mut found = Found { notes: workspace.notes().to_vec(), ..Found::default() };
    found.notes.extend(Wanted::read(&workspace).told(workspace.manager()));
    for left in workspace.left_out() {
        found.leave_out(&left.folder, &left.problem, left.is_private);
    }
    let mut built: BTreeMap<PackageName, (MemberId, Package)> = BTreeMap::new();
    let mut incomplete = Vec::new();
    for member in workspace.members() {
        if lacks(member, "name") || lacks(member, "version") {
            incomplete.push(shown(member.folder()));
            continue;
        }
        match package(member) {
            Err(problem) => found.leave_out(member.folder(), &problem, member.manifest().is_private()),
            Ok(package) => {
                if package.folder().below_root() != member.folder() {
                    found.notes.push(format!(
                        "{} is in {:?}, which is no path of a package; workers look for it in {}",
                        package.name,
                        member.folder(),
                        package.folder()
                    ));
                }
                built.insert(package.name.clone(), (member.id(), package));
            }
        }
    }
    found.notes.extend(not_built(&incomplete));
    let names: Vec<(MemberId, PackageName)> = built.iter().map(|(name, (id, _))| (*id, name.clone())).collect();
    let mut needs = needs::needs(&workspace, &names, &mut found.notes);
    let waits = |(name, (_, package)): (PackageName, (MemberId, Package))| {
        let needs::Needs { dependencies, build_after } = needs.remove(&name).unwrap_or_default();
        Package { dependencies, build_after, ..package }
    };
    found.packages = built.into_iter().map(waits).collect();
    Ok(found)
}

impl Found {
    fn leave_out(&mut self, folder: &Path, problem: &str, is_private: bool) {
        self.notes.push(format!("{} is left out: {problem}", shown(folder)));
        if !is_private {
            self.left_out.push(folder.to_owned());
        }
    }
}

fn lacks(member: &Member, field: &str) -> bool {
    match member.manifest().get(field) {
        None | Some(Value::Null) => true,
        Some(value) => value.as_str() == Some(""),
    }
}

fn not_built(folders: &[String]) -> Option<String> {
    let named = folders.get(..NAMED).unwrap_or(folders).join(", ");
    let more = match folders.len().checked_sub(NAMED) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    (!folders.is_empty()).then(|| format!("without a name or a version, so not built: {named}{more}"))
}

/// What the catalogue keeps of a member, without what it needs.
fn package(member: &Member) -> Result<Package, String> {
    let manifest = member.manifest();
    let own = match manifest.get("packline") {
        None => &Value::Null,
        Some(own @ Value::Object(_)) => own,
        Some(_) => return Err("`packline` in its package.json is an object with `priority` and `category`".into()),
    };
    let mut package = Package::parse(&json!({
        "name": manifest.get("name"),
        "priority": own.get("priority"),
        "category": own.get("category"),
        "version": manifest.get("version"),
    }))?;
    // Those who poll see no difference where a package is in the usual folder.
    let path = member.folder().to_str().map(|text| if text.is_empty() { "." } else { text });
    let path = path.and_then(|text| text.parse::<PackagePath>().ok());
    package.path = path.filter(|path| !path.is_of_name(&package.name));
    Ok(package)
}
