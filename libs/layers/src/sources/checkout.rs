//! The checkout that a workspace is, or is in.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    SourcesError,
    entry::os,
    git::{self, Running},
};

/// Where a checkout keeps things, and what it is at.
#[derive(Clone, Debug)]
pub(super) struct Checkout {
    /// The folder of the workspace below the top of the checkout; empty where it is the top.
    pub(super) prefix: PathBuf,
    pub(super) index: PathBuf,
    pub(super) objects: PathBuf,
    /// What stands in the files `shallow` and `info/exclude`.
    pub(super) shallow: Option<Vec<u8>>,
    pub(super) exclude: Option<Vec<u8>>,
    /// `sha1` or `sha256`.
    pub(super) format: String,
    pub(super) commit: Option<String>,
    /// The branch that is checked out, such as `refs/heads/main`.
    pub(super) branch: Option<String>,
    /// Branches, tags and replacements, as `git show-ref --dereference` prints them.
    pub(super) refs: String,
}

/// Questions to git that are being answered.
pub(super) struct Asked {
    places: Running,
    refs: Running,
}

/// Whether a folder is in a checkout, as git finds it; what cannot be looked at may be one.
pub(super) fn is_in_one(root: &Path) -> bool {
    root.ancestors().any(has_repository)
}

/// Whether a folder is the top of a checkout.
pub(super) fn has_repository(folder: &Path) -> bool {
    let git = folder.join(".git");
    let missing = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match fs::metadata(&git) {
        // git takes no folder for a repository that has no HEAD.
        Ok(found) if found.is_dir() => !fs::symlink_metadata(git.join("HEAD")).is_err_and(|error| missing(&error)),
        Ok(_) => true,
        Err(error) => !missing(&error),
    }
}

impl Asked {
    pub(super) fn about(root: &Path) -> Result<Self, SourcesError> {
        let paths = ["--git-path", "index", "--git-path", "objects", "--git-path", "shallow", "--git-path"];
        let mut places = vec!["rev-parse", "--show-object-format", "--show-prefix", "--git-dir"];
        places.extend(paths);
        places.push("info/exclude");
        Ok(Self {
            places: git::start(root, &places)?,
            refs: git::start(root, &["show-ref", "--head", "--dereference"])?,
        })
    }

    pub(super) fn answer(self, root: &Path) -> Result<Checkout, SourcesError> {
        let places = self.places.stdout()?;
        let mut lines = places.split(|byte| *byte == b'\n');
        let mut next =
            || lines.next().ok_or_else(|| SourcesError::Git("git does not say where it keeps things".into()));
        let format = String::from_utf8_lossy(next()?).into_owned();
        let prefix = PathBuf::from(os(next()?));
        let mut place = || Ok::<_, SourcesError>(root.join(os(next()?)));
        let (folder, index, objects, shallow, exclude) = (place()?, place()?, place()?, place()?, place()?);
        let refs = self.refs.output()?;
        // Without any reference it ends with 1, and says nothing.
        if !refs.status.success() && !refs.stderr.is_empty() {
            return Err(git::failure(&refs));
        }
        let said = String::from_utf8_lossy(&refs.stdout);
        let commit = said.lines().find_map(|line| line.strip_suffix(" HEAD")).map(str::to_owned);
        let taken = ["refs/heads/", "refs/tags/", "refs/replace/"];
        let is_taken = |line: &&str| {
            let name = line.split_once(' ').map_or("", |(_, name)| name);
            taken.iter().any(|start| name.starts_with(start))
        };
        let refs = said.lines().filter(is_taken).flat_map(|line| [line, "\n"]).collect();
        Ok(Checkout {
            prefix,
            index,
            objects: objects.canonicalize()?,
            shallow: read(&shallow)?,
            exclude: read(&exclude)?,
            format,
            commit,
            branch: branch(&folder)?,
            refs,
        })
    }
}

impl Checkout {
    /// All that the repository of the layer depends on, beside the files and the index.
    pub(super) fn parts(&self) -> Vec<Vec<u8>> {
        let text = |text: &str| text.as_bytes().to_vec();
        vec![
            self.prefix.as_os_str().as_bytes().to_vec(),
            self.objects.as_os_str().as_bytes().to_vec(),
            self.shallow.clone().unwrap_or_default(),
            self.exclude.clone().unwrap_or_default(),
            text(&self.format),
            text(self.commit.as_deref().unwrap_or_default()),
            text(self.branch.as_deref().unwrap_or_default()),
            text(&self.refs),
        ]
    }
}

/// The branch in the file HEAD.
fn branch(folder: &Path) -> io::Result<Option<String>> {
    let head = fs::read_to_string(folder.join("HEAD"))?;
    // Where references are in tables, the file names a branch that is none.
    Ok(head.strip_prefix("ref: ").map(str::trim).filter(|name| *name != "refs/heads/.invalid").map(str::to_owned))
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
