//! A workspace, a store, and git.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use packline_layers::{
    Bounds,
    sources::{File, Kind, Request, Sources, SourcesError, take},
};

pub(crate) const WIDE: Bounds = Bounds { bytes: 1 << 40, age: Duration::from_secs(86_400 * 365) };

/// Removed with all that is in it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) members: Vec<PathBuf>,
    pub(crate) leave_out: Vec<PathBuf>,
}

impl Place {
    /// With an empty workspace, which is no checkout.
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), members: Vec::new(), leave_out: Vec::new() };
        fs::create_dir(place.root()).unwrap();
        place
    }

    /// With a checkout of one commit that has one file.
    pub(crate) fn checkout() -> Self {
        let place = Self::new();
        place.git(&["init", "-q", "-b", "main"]);
        place.put("package.json", "{}");
        place.commit("first");
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("workspace")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Writes a file of the workspace, and dates it back: what just changed is read again anyway.
    pub(crate) fn put(&self, path: &str, content: &str) {
        put(&self.root().join(path), content);
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.root().join(path)).unwrap();
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.root(), arguments)
    }

    /// Adds and commits all.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    pub(crate) fn request(&self) -> Request {
        Request {
            root: self.root(),
            store: self.store(),
            bounds: WIDE,
            members: self.members.clone(),
            leave_out: self.leave_out.clone(),
        }
    }

    pub(crate) fn take(&self) -> Sources {
        self.try_take().unwrap()
    }

    pub(crate) fn try_take(&self) -> Result<Sources, SourcesError> {
        take(&self.request())
    }
}

pub(crate) fn put(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let time = SystemTime::now() - Duration::from_secs(60);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// What git prints, without the settings of this machine.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let (worked, said) = try_git(folder, arguments);
    assert!(worked, "git {arguments:?}: {said}");
    said
}

pub(crate) fn try_git(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let mut git = Command::new("git");
    git.args(["-c", "protocol.file.allow=always"]).args(arguments).current_dir(folder);
    git.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    git.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null"), ("HOME", "/nowhere")]);
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "somebody").env(format!("GIT_{role}_EMAIL"), "somebody@example.org");
        git.env(format!("GIT_{role}_DATE"), "2026-01-02T03:04:05Z");
    }
    let ended = git.output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap().trim_end().to_owned())
}

/// All that is in a folder but `.git`: the content of files with `!` where they can be executed, `-> target` of links,
/// `/` for empty folders.
pub(crate) fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        let below = at.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let mut is_empty = true;
        for entry in fs::read_dir(&at).unwrap() {
            is_empty = false;
            let entry = entry.unwrap();
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let kind = entry.file_type().unwrap();
            if name == ".git" {
            } else if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                found.insert(name, format!("-> {}", fs::read_link(path).unwrap().display()));
            } else {
                let mark = if entry.metadata().unwrap().permissions().mode() & 0o111 == 0 { "" } else { "!" };
                found.insert(name, format!("{mark}{}", fs::read_to_string(path).unwrap()));
            }
        }
        if is_empty && !below.is_empty() {
            found.insert(below, "/".into());
        }
    }
    found
}

/// The names in [`tree`].
pub(crate) fn names(folder: &Path) -> Vec<String> {
    tree(folder).into_keys().collect()
}

/// Checks that a list says what is in the layer.
pub(crate) fn assert_listed(sources: &Sources) {
    let listed = sources.files().unwrap().into_iter().map(|File { path, kind }| {
        let kind = match kind {
            Kind::File { executable, .. } => if executable { "executable" } else { "file" }.to_owned(),
            Kind::Link { target } => format!("-> {}", target.display()),
            Kind::Folder => "/".into(),
        };
        (path.into_os_string().into_string().unwrap(), kind)
    });
    let found = tree(&sources.path).into_iter().map(|(name, content)| {
        let kind = match content {
            link if link.starts_with("-> ") => link,
            folder if folder == "/" => folder,
            file => if file.starts_with('!') { "executable" } else { "file" }.to_owned(),
        };
        (name, kind)
    });
    assert_eq!(listed.collect::<BTreeMap<_, _>>(), found.collect::<BTreeMap<_, _>>());
}
