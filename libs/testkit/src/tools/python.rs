//! Python with the packages of foreign peers: the MCP SDK and nats-py.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tokio::sync::OnceCell;

use crate::process::command;

use super::{Missing, aside, keep, last_line, output};

/// The oldest Python that the MCP SDK runs on, as major and minor version.
pub const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// The packages, with their hashes.
const LIST: &str = include_str!("../../python/requirements.txt");

/// Prints what [`Interpreter`] holds, a line each.
const SAY: &str = "import sys; print(sys.executable); print(*sys.version_info[:2])";

/// A Python whose scripts can import `mcp` and `nats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The program: called like `python3`, it needs nothing in its environment.
    pub program: PathBuf,
}

impl Python {
    /// Runs a script: arguments may follow.
    pub fn command(&self, script: &Path) -> Command {
        let mut python = command(&self.program);
        python.arg(script);
        python
    }
}

/// Python, with its packages installed once.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn python() -> Result<Python, Missing> {
    static FOUND: OnceCell<Python> = OnceCell::const_new();
    FOUND.get_or_try_init(|| aside(find)).await.cloned()
}

fn find() -> Result<Python, Missing> {
    let interpreter = judge(says().as_deref())?;
    // Wheels fit one version of Python at one place: another one gets a folder of its own.
    let home = keep("python", &format!("{LIST}{interpreter:?}"), |home| install(&interpreter, home))?;
    Ok(Python { program: home.join("python") })
}

/// The `python3` of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interpreter {
    program: PathBuf,
    version: (u32, u32),
}

fn says() -> Option<String> {
    let ended = output(Command::new("python3").args(["-c", SAY]))?;
    ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
}

fn judge(says: Option<&str>) -> Result<Interpreter, Missing> {
    let (major, minor) = OLDEST_PYTHON;
    let needed = format!("Python {major}.{minor} or newer is needed");
    let says = says.ok_or_else(|| Missing(format!("{needed}, and there is no `python3` on the PATH that runs")))?;
    let interpreter = says.split_once('\n').and_then(|(program, version)| {
        let (major, minor) = version.trim().split_once(' ')?;
        Some(Interpreter { program: program.into(), version: (major.parse().ok()?, minor.parse().ok()?) })
    });
    match interpreter {
        Some(interpreter) if interpreter.version >= OLDEST_PYTHON => Ok(interpreter),
        Some(Interpreter { version: (major, minor), .. }) => {
            Err(Missing(format!("{needed}, and `python3` on the PATH is {major}.{minor}")))
        }
        None => Err(Missing(format!("{needed}, and `python3` on the PATH does not say its version"))),
    }
}

fn install(interpreter: &Interpreter, home: &Path) -> Result<(), Missing> {
    let missing = |why: &str| Missing(format!("the Python packages `mcp` and `nats-py` cannot be installed: {why}"));
    let list = home.join("requirements.txt");
    fs::write(&list, LIST).map_err(|error| missing(&error.to_string()))?;
    let mut install = command(&interpreter.program);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    install.args(["--only-binary=:all:", "--require-hashes", "--requirement"]).arg(&list);
    install.arg("--target").arg(home.join("packages"));
    let ended = output(&mut install).ok_or_else(|| missing("python3 does not run"))?;
    if !ended.status.success() {
        return Err(missing(&format!("pip says `{}`", last_line(&ended))));
    }
    write_program(interpreter, &home.join("python")).map_err(|error| missing(&error.to_string()))
}

/// A program rather than a variable, since an MCP client may hand its servers no environment; and rather than
/// a virtual environment, since many systems have pip without `venv`.
fn write_program(interpreter: &Interpreter, program: &Path) -> io::Result<()> {
    let real = interpreter.program.display().to_string().replace('\'', r"'\''");
    let text = format!(
        "#!/bin/sh\nPYTHONPATH=\"${{0%/*}}/packages\" PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1\n\
         export PYTHONPATH PYTHONNOUSERSITE PYTHONUNBUFFERED\nexec '{real}' \"$@\"\n"
    );
    fs::write(program, text)?;
    fs::set_permissions(program, Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_missing_python_is_one_sentence() {
        let new = judge(Some("/usr/bin/python3\n3 14\n")).unwrap();
        assert_eq!(new, Interpreter { program: "/usr/bin/python3".into(), version: (3, 14) });
        let complaint = |says| judge(says).unwrap_err().to_string();
        assert_eq!(
            complaint(Some("/usr/bin/python3\n3 9\n")),
            "Python 3.10 or newer is needed, and `python3` on the PATH is 3.9"
        );
        assert_eq!(complaint(None), "Python 3.10 or newer is needed, and there is no `python3` on the PATH that runs");
        assert!(complaint(Some("what?")).contains("does not say its version"));
    }

    #[test]
    fn every_python_package_is_pinned_by_its_hash_and_by_no_host() {
        let packages: Vec<&str> = LIST.lines().filter(|line| !line.starts_with([' ', '#'])).collect();
        assert!(packages.iter().any(|package| package.starts_with("mcp==1.")), "{packages:?}");
        assert!(packages.iter().any(|package| package.starts_with("nats-py==")), "{packages:?}");
        assert!(packages.iter().all(|package| package.contains("==") && package.ends_with('\\')), "{packages:?}");
        assert!(!LIST.contains("://"));
    }

    #[tokio::test]
    async fn a_python_with_its_packages_is_found_or_made_and_runs() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("who.py");
        fs::write(&script, "import mcp, nats, sys; print(mcp.__file__, nats.__file__, sys.argv[1])").unwrap();
        let python = python().await.unwrap();
        let ended = python.command(&script).env_clear().arg("it").output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let said = String::from_utf8(ended.stdout).unwrap();
        let home = python.program.parent().unwrap().join("packages");
        assert_eq!(said.trim_end(), format!("{0}/mcp/__init__.py {0}/nats/__init__.py it", home.display()));
    }
}
