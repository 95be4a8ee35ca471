//! Members that each install by themselves, with links to their siblings in place of what the registry has of them.
//!
//! The root builds all members at once, before any of them is published, so it sees siblings as it builds them. What it
//! sees then depends on the sources alone.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use packline_workspace::{Member, Workspace};
use serde_json::{Map, Value};

use super::skeleton::DEPENDENCIES;

/// A link to a sibling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link {
    /// Below the folder of the install.
    pub(crate) place: PathBuf,
    /// Below the root of the workspace.
    pub(crate) target: PathBuf,
}

impl Link {
    /// Makes it below `layer`, for an install in `folder`.
    pub(crate) fn make(&self, layer: &Path, folder: &Path) -> io::Result<()> {
        let place = folder.join(&self.place);
        let above = place.parent().unwrap_or(Path::new(""));
        let up: PathBuf = above.components().map(|_| "..").collect();
        fs::create_dir_all(layer.join(above))?;
        symlink(up.join(&self.target), layer.join(&place))
    }
}

/// What is left of a lock file.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) lock: Vec<u8>,
    /// What the package itself no longer has.
    pub(crate) names: BTreeSet<String>,
    pub(crate) links: Vec<Link>,
}

/// Takes the versions that the workspace holds out of a lock file. `None` where there are none, or it is not understood.
pub(crate) fn cut(lock: &[u8], workspace: &Workspace) -> Option<Cut> {
    let mut lock: Value = serde_json::from_slice(lock).ok()?;
    let packages = lock.get_mut("packages")?.as_object_mut()?;
    let holder = |place: &str, entry: &Value| {
        let text = |field: &str| entry.get(field).and_then(Value::as_str);
        let name = text("name").unwrap_or(name_of(place)?);
        let version = text("version")?;
        // An entry without a hash is the package itself, a link, or a folder.
        entry.get("integrity")?;
        workspace.members().iter().find(|member| {
            let manifest = member.manifest();
            !manifest.is_private() && manifest.name() == Some(name) && manifest.version() == Some(version)
        })
    };
    let held: Vec<(String, PathBuf)> = packages
        .iter()
        .filter_map(|(place, entry)| Some((place.clone(), holder(place, entry)?.real_folder().to_owned())))
        .collect();
    let is_below = |place: &str, above: &str| {
        place.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    packages.retain(|place, _| !held.iter().any(|(above, _)| is_below(place, above)));
    let left: BTreeSet<String> = packages.keys().filter_map(|place| name_of(place)).map(str::to_owned).collect();
    let gone: BTreeSet<String> = held.iter().filter_map(|(place, _)| name_of(place)).map(str::to_owned).collect();
    for (place, entry) in packages.iter_mut() {
        let Some(entry) = entry.as_object_mut() else { continue };
        // In the package itself it is the one at the top that counts.
        let is_gone = |name: &str| match place.is_empty() {
            true => held.iter().any(|(place, _)| place.strip_prefix(MODULES) == Some(name)),
            false => gone.contains(name) && !left.contains(name),
        };
        leave_out(entry, is_gone);
    }
    // A link below another one would lie in the sources of a sibling.
    let is_outermost =
        |(place, _): &&(String, PathBuf)| !held.iter().any(|(above, _)| above != place && is_below(place, above));
    let links: Vec<Link> = held
        .iter()
        .filter(is_outermost)
        .map(|(place, target)| Link { place: place.into(), target: target.clone() })
        .collect();
    let at_top = held.iter().filter_map(|(place, _)| place.strip_prefix(MODULES));
    let names = at_top.filter(|name| !name.contains(MODULES)).map(str::to_owned).collect();
    let lock_of_all = lock.as_object_mut()?;
    // The older form of the same, which npm then does not need.
    lock_of_all.remove("dependencies");
    lock_of_all.insert("lockfileVersion".to_owned(), 3.into());
    (!held.is_empty()).then(|| Cut { lock: lock.to_string().into_bytes(), names, links })
}

/// The siblings that a member names, where it has no lock file.
pub(crate) fn of_edges(workspace: &Workspace, member: &Member) -> (BTreeSet<String>, Vec<Link>) {
    let siblings = workspace.edges(member.id()).iter().filter_map(|edge| workspace.member(edge.to()));
    let named = siblings.filter_map(|sibling| Some((sibling.link_name()?.to_owned(), sibling)));
    let links = named.map(|(name, sibling)| {
        let link = Link { place: [MODULES, &name].concat().into(), target: sibling.real_folder().to_owned() };
        (name, link)
    });
    links.unzip()
}

const MODULES: &str = "node_modules/";

fn name_of(place: &str) -> Option<&str> {
    place.rsplit_once(MODULES).map(|(_, name)| name)
}

/// Takes dependencies out of a manifest, or of an entry of a lock file.
pub(crate) fn leave_out(manifest: &mut Map<String, Value>, is_left_out: impl Fn(&str) -> bool) {
    for field in DEPENDENCIES {
        if let Some(Value::Object(dependencies)) = manifest.get_mut(field) {
            dependencies.retain(|name, _| !is_left_out(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(place: &Path) -> Workspace {
        let write = |path: &str, text: Value| {
            let path = place.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.to_string()).unwrap();
        };
        write("lerna.json", json!({"packages": ["packages/*"]}));
        write("package.json", json!({"private": true}));
        write("packages/core/package.json", json!({"name": "@acme/core", "version": "2.0.0"}));
        write("packages/io/package.json", json!({"name": "io", "version": "1.0.0"}));
        let app = json!({"name": "app", "version": "1.0.0", "dependencies": {"@acme/core": "^2.0.0"}});
        write("packages/app/package.json", app);
        Workspace::read(place).unwrap()
    }

    #[test]
    fn versions_that_the_workspace_holds_become_links_and_others_stay() {
        let place = tempfile::tempdir().unwrap();
        let workspace = workspace(place.path());
        let entry = |version: &str, dependencies: Value| json!({"version": version, "integrity": "i", "dependencies": dependencies});
        let lock = json!({"lockfileVersion": 2, "dependencies": {"@acme/core": {}}, "packages": {
            "": {"name": "app", "dependencies": {"@acme/core": "^2.0.0", "io": "^0.9.0", "other": "1"}},
            "node_modules/@acme/core": entry("2.0.0", json!({"io": "^1.0.0", "tiny": "1"})),
            "node_modules/@acme/core/node_modules/io": entry("1.0.0", json!({})),
            "node_modules/io": entry("0.9.0", json!({})),
            "node_modules/tiny": entry("1.0.0", json!({})),
            "node_modules/other": entry("1.0.0", json!({"@acme/core": "2", "io": "1"})),
            "node_modules/other/node_modules/io": entry("1.0.0", json!({})),
        }});
        let cut = cut(lock.to_string().as_bytes(), &workspace).unwrap();
        assert_eq!(cut.names, BTreeSet::from(["@acme/core".to_owned()]));
        let link = |place: &str, target: &str| Link { place: place.into(), target: target.into() };
        assert_eq!(
            cut.links,
            [
                link("node_modules/@acme/core", "packages/core"),
                link("node_modules/other/node_modules/io", "packages/io")
            ]
        );
        let left: Value = serde_json::from_slice(&cut.lock).unwrap();
        let packages = json!({
            "": {"name": "app", "dependencies": {"io": "^0.9.0", "other": "1"}},
            "node_modules/io": entry("0.9.0", json!({})),
            "node_modules/tiny": entry("1.0.0", json!({})),
            "node_modules/other": entry("1.0.0", json!({"io": "1"})),
        });
        assert_eq!(left, json!({"lockfileVersion": 3, "packages": packages}));
        let older = json!({"packages": {"node_modules/@acme/core": entry("1.0.0", json!({}))}});
        assert!(super::cut(older.to_string().as_bytes(), &workspace).is_none());
    }

    #[test]
    fn a_link_leads_to_the_sibling_in_the_view() {
        let place = tempfile::tempdir().unwrap();
        let workspace = workspace(place.path());
        let app = workspace.members().iter().find(|member| member.manifest().name() == Some("app")).unwrap();
        let (names, links) = of_edges(&workspace, app);
        assert_eq!(names, BTreeSet::from(["@acme/core".to_owned()]));
        for link in links {
            link.make(place.path(), Path::new("packages/app")).unwrap();
        }
        let found = place.path().join("packages/app/node_modules/@acme/core");
        assert_eq!(fs::read_link(&found).unwrap(), Path::new("../../../../packages/core"));
        assert_eq!(found.canonicalize().unwrap(), place.path().join("packages/core").canonicalize().unwrap());
    }
}
