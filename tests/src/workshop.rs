//! A workspace whose builds run one script of the test's own.

use std::{collections::BTreeMap, ffi::OsStr, fs, path::Path};

use tempfile::TempDir;

use packline_testkit::witness;

/// The processes of each build that has some.
pub type Alive = BTreeMap<String, Vec<i32>>;

/// Packages without contents, and what their builds run.
///
/// The script finds in `$SHOP` a folder that it shares with the test. It lives as the witness sees it: by
/// that variable, or by the folder on its command line.
#[derive(Debug)]
pub struct Workshop {
    folder: TempDir,
}

impl Workshop {
    /// A folder for each package (unscoped), and `sh` with this script as the only phase of each build.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn of(packages: impl IntoIterator<Item = String>, script: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("packline-workshop-").tempdir()?;
        let shop = folder.path().display();
        for package in packages {
            fs::create_dir_all(folder.path().join("workspace/packages").join(package))?;
        }
        fs::write(folder.path().join("build.sh"), script)?;
        fs::write(
            folder.path().join("recipe.toml"),
            format!(
                "[[phase]]\nname = \"build\"\nrun = [\"sh\", \"{shop}/build.sh\"]\nenv = {{ SHOP = \"{shop}\" }}\n"
            ),
        )?;
        Ok(Self { folder })
    }

    /// The folder that the script shares with the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a worker of it is set to.
    pub(crate) fn settings(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.folder.path().join(name).to_string_lossy().into_owned();
        [("WORKSPACE_ROOT", path("workspace")), ("RECIPE", path("recipe.toml"))]
    }

    /// The lines of a file that scripts add to.
    pub fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Makes a file that scripts wait for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, file: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.folder.path().join(file), "")?)
    }

    /// Which builds have processes at this moment: those with `SHOP` in their environment, and those without an
    /// environment whose last argument is a build and another one is in the folder.
    pub fn alive(&self) -> Alive {
        let shop = self.folder.path();
        let mut alive = Alive::new();
        for process in witness::processes() {
            let environment = process.environment();
            let build = if environment.get(OsStr::new("SHOP")).is_some_and(|value| value == shop) {
                environment.get(OsStr::new("BUILD_ID")).map(|build| build.to_string_lossy().into_owned())
            } else if environment.is_empty() {
                let arguments = process.command();
                let of_ours = arguments.iter().any(|argument| Path::new(argument).starts_with(shop));
                arguments.last().filter(|_| of_ours).cloned()
            } else {
                None
            };
            if let Some(build) = build {
                alive.entry(build).or_default().push(process.pid());
            }
        }
        alive
    }
}
