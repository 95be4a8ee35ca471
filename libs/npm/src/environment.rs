//! What npm takes from around it: variables, the current folder, and where npm and node are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The surroundings that settings are read in.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
    folder: PathBuf,
    npm: Option<PathBuf>,
    node: Option<PathBuf>,
}

impl Environment {
    /// With these variables, in this folder, to which paths are relative. npm and node are those on its `PATH`.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, folder: PathBuf) -> Self {
        let mut environment = Self { variables: variables.into_iter().collect(), folder, npm: None, node: None };
        environment.npm = environment.program("npm").and_then(|npm| Some(npm.parent()?.parent()?.to_owned()));
        environment.node = environment.program("node");
        environment
    }

    /// That of this process.
    pub fn of_this_process() -> Self {
        let variables = env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self::new(variables, env::current_dir().unwrap_or_else(|_| PathBuf::from("/")))
    }

    /// The same in another folder.
    #[must_use]
    pub(crate) fn within(self, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..self }
    }

    /// A variable; an empty one counts.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Each variable with its name, in the order of the environment.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A path as npm reads it in a setting: `~/` is the home folder.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.home()) {
            (Some(below), Some(home)) => home.join(below),
            _ => self.folder.join(text),
        }
    }

    fn home(&self) -> Option<PathBuf> {
        let home = self.variable("HOME").filter(|home| !home.is_empty());
        home.map(|home| self.folder.join(home)).or_else(env::home_dir)
    }

    /// The settings that come with npm itself.
    pub(crate) fn builtin(&self) -> Option<PathBuf> {
        self.npm.as_ref().map(|npm| npm.join("npmrc"))
    }

    /// Where npm installs global packages unless it is told.
    pub(crate) fn prefix(&self) -> Option<PathBuf> {
        if let Some(prefix) = self.variable("PREFIX").filter(|prefix| !prefix.is_empty()) {
            return Some(self.folder.join(prefix));
        }
        let prefix = self.node.as_deref()?.parent()?.parent()?;
        match self.variable("DESTDIR").filter(|root| !root.is_empty()) {
            Some(root) => Some(self.folder.join(root).join(prefix.strip_prefix("/").unwrap_or(prefix))),
            None => Some(prefix.to_owned()),
        }
    }

    /// A program on the `PATH`, with its links resolved.
    fn program(&self, name: &str) -> Option<PathBuf> {
        let folders = env::split_paths(self.variable("PATH")?);
        folders.map(|folder| self.folder.join(folder).join(name)).find(|path| is_program(path))?.canonicalize().ok()
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
