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
    /// `None` where npm installs no package at `place`, which anybody may have written into a lock file.
    fn new(place: &str, target: &Path) -> Option<Self> {
        is_place(place).then(|| Self { place: place.into(), target: target.to_owned() })
    }

    /// Creates it below `layer`, for an install in `folder`. No link is followed: what npm installed may have some that
    /// lead out of the layer.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`] or [`io::ErrorKind::AlreadyExists`] where what npm installed has something else
    /// there; otherwise when it cannot be written.
    pub(crate) fn create(&self, layer: &Path, folder: &Path) -> io::Result<()> {
        let place = folder.join(&self.place);
        let above = place.parent().unwrap_or(Path::new(""));
        let (mut at, mut up) = (layer.to_owned(), PathBuf::new());
        for component in above.components() {
            at.push(component);
            up.push("..");
            match fs::create_dir(&at) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&at)?.is_dir() {
                        return Err(io::ErrorKind::NotADirectory.into());
                    }
                }
                created => created?,
            }
        }
        symlink(up.join(&self.target), layer.join(&place))
    }
}

/// Whether npm may install a package there: `node_modules/` and a name, once or more.
fn is_place(place: &str) -> bool {
    let Some(names) = place.strip_prefix(MODULES) else { return false };
    names.split(&["/", MODULES].concat()).all(|name| match name.split_once('/') {
        Some((scope, name)) => scope.strip_prefix('@').is_some_and(is_plain) && is_plain(name),
        None => !name.starts_with('@') && is_plain(name),
    })
}

/// Whether a part of a package's name is the name of one file. npm takes none that begins with a dot.
fn is_plain(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\0']) && part != MODULES.trim_end_matches('/')
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
        // What npm makes of another place, it does below the guard.
        if !is_place(place) {
            return None;
        }
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
    let links: Vec<Link> =
        held.iter().filter(is_outermost).filter_map(|(place, target)| Link::new(place, target)).collect();
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
    // npm refuses a dependency of another name.
    let links = named.filter_map(|(name, sibling)| {
        let link = Link::new(&[MODULES, &name].concat(), sibling.real_folder())?;
        Some((name, link))
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
            link.create(place.path(), Path::new("packages/app")).unwrap();
        }
        let found = place.path().join("packages/app/node_modules/@acme/core");
        assert_eq!(fs::read_link(&found).unwrap(), Path::new("../../../../packages/core"));
        assert_eq!(found.canonicalize().unwrap(), place.path().join("packages/core").canonicalize().unwrap());
    }

    #[test]
    fn a_lock_file_names_no_place_outside_of_node_modules() {
        let place = tempfile::tempdir().unwrap();
        let workspace = workspace(place.path());
        let outside = tempfile::tempdir().unwrap();
        let absolute = format!("{}/node_modules/io", outside.path().display());
        for bad in [
            &*absolute,
            "../../node_modules/io",
            "node_modules/../../io",
            "node_modules/../../node_modules/io",
            "node_modules/io/../../node_modules/io",
            "node_modules/a/b/node_modules/io",
            "node_modules/@acme/node_modules/io",
            "node_modules//node_modules/io",
            "node_modules/node_modules/io",
            "node_modules/.bin/node_modules/io",
            "node_modules/@/io",
            "node_modules/io/",
            "node_modules/",
            "packages/x/node_modules/io",
            "",
        ] {
            assert_eq!(Link::new(bad, Path::new("packages/io")), None, "{bad}");
            let entry = json!({"name": "io", "version": "1.0.0", "integrity": "i"});
            let lock = json!({"packages": {bad: entry}}).to_string();
            assert!(cut(lock.as_bytes(), &workspace).is_none(), "{bad}");
        }
        for good in ["node_modules/io", "node_modules/@s/x", "node_modules/@s/x/node_modules/y/node_modules/@t/z"] {
            assert!(Link::new(good, Path::new("packages/io")).is_some(), "{good}");
        }
    }

    #[test]
    fn a_link_is_created_below_no_link_and_over_nothing() {
        let (layer, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let create = |place: &str| {
            let link = Link::new(place, Path::new("packages/io")).unwrap();
            link.create(layer.path(), Path::new("packages/app")).map_err(|error| error.kind())
        };
        assert_eq!(create("node_modules/io"), Ok(()));
        assert_eq!(create("node_modules/io"), Err(io::ErrorKind::AlreadyExists));
        let modules = layer.path().join("packages/app/node_modules");
        symlink(outside.path(), modules.join("linked")).unwrap();
        fs::write(modules.join("file"), "").unwrap();
        for above in ["linked", "file", "io"] {
            assert_eq!(create(&format!("node_modules/{above}/node_modules/io")), Err(io::ErrorKind::NotADirectory));
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing is written through a link");
    }
}
