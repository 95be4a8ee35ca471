//! The folders that patterns name, as they are on disk.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    pattern::{Hidden, Part, Pattern, Patterns},
    shown,
};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    /// Folders, relative to the root.
    pub(crate) found: BTreeSet<PathBuf>,
    /// What could not be looked at, one line each.
    pub(crate) notes: Vec<String>,
}

/// Finds the folders below `root`; whether they hold a package is seen later.
pub(crate) fn folders(root: &Path, patterns: &Patterns) -> Folders {
    let mut walk = Walk { root, patterns, into: Folders::default(), seen: HashSet::new() };
    for pattern in &patterns.chosen {
        if pattern.leaves() {
            walk.into
                .notes
                .push(format!("the pattern {:?} leaves the workspace; what it names is not looked at", pattern.text));
            continue;
        }
        walk.seen.clear();
        walk.step(Path::new(""), pattern, 0);
    }
    walk.into
}

struct Walk<'a> {
    root: &'a Path,
    patterns: &'a Patterns,
    into: Folders,
    /// Where this pattern has been with which of its parts.
    seen: HashSet<(PathBuf, usize)>,
}

struct Child {
    name: String,
    path: PathBuf,
    is_link: bool,
}

impl Walk<'_> {
    /// Follows the parts of `pattern` from number `at` in `folder`.
    fn step(&mut self, folder: &Path, pattern: &Pattern, at: usize) {
        match pattern.parts.get(at) {
            None if folder == Path::new("") && !pattern.is_root => {}
            None => self.take(folder),
            Some(Part::Literal(name)) => {
                let below = folder.join(name);
                // npm finds nothing by a `.` in the middle
                if !self.is_skipped(name) && name != "." && self.root.join(&below).is_dir() {
                    self.step(&below, pattern, at + 1);
                }
            }
            Some(part @ Part::Glob { .. }) => {
                for child in self.children(folder) {
                    if part.is(&child.name, Hidden::Unseen) {
                        self.step(&child.path, pattern, at + 1);
                    }
                }
            }
            Some(Part::Any) => {
                if !self.seen.insert((folder.to_owned(), at)) {
                    return;
                }
                let is_below = self.patterns.ends_below && at + 1 == pattern.parts.len();
                if !is_below {
                    self.step(folder, pattern, at + 1);
                }
                for child in self.children(folder).into_iter().filter(|child| !child.name.starts_with('.')) {
                    if !child.is_link || self.patterns.follows_links && !self.leads_back(&child.path) {
                        if is_below {
                            self.take(&child.path);
                        }
                        self.step(&child.path, pattern, at);
                    } else if at > 0 && !self.patterns.follows_links {
                        // a link ends it, and at the start of a pattern none is followed
                        self.step(&child.path, pattern, at + 1);
                    }
                }
            }
        }
    }

    fn is_skipped(&self, name: &str) -> bool {
        self.patterns.skipped.contains(&name)
    }

    /// Whether a link leads to a folder that it is in itself.
    fn leads_back(&self, link: &Path) -> bool {
        let link = self.root.join(link);
        let here = link.parent().and_then(|folder| folder.canonicalize().ok());
        let there = link.canonicalize().ok();
        here.zip(there).is_none_or(|(here, there)| here.starts_with(there))
    }

    fn take(&mut self, folder: &Path) {
        let names: Vec<_> = folder.iter().map(|name| name.to_string_lossy()).collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        if !self.patterns.refuses(&names) {
            self.into.found.insert(folder.to_owned());
        }
    }

    /// The folders in `folder`, and links to folders.
    fn children(&mut self, folder: &Path) -> Vec<Child> {
        let path = self.root.join(folder);
        let read = fs::read_dir(&path).and_then(|items| items.collect::<io::Result<Vec<_>>>());
        let items = match read {
            Ok(items) => items,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Vec::new(),
            Err(error) => {
                self.into.notes.push(format!("{} cannot be read, and nothing in it is found: {error}", shown(folder)));
                Vec::new()
            }
        };
        let child = |item: fs::DirEntry| {
            let name = item.file_name();
            let kind = item.file_type().ok()?;
            let is_folder = kind.is_dir() || kind.is_symlink() && item.path().is_dir();
            let path = folder.join(&name);
            let name = name.to_string_lossy().into_owned();
            (is_folder && !self.is_skipped(&name)).then(|| Child { name, path, is_link: kind.is_symlink() })
        };
        items.into_iter().filter_map(child).collect()
    }
}
