//! Running git.

use std::{
    env,
    io::ErrorKind,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use super::SourcesError;

/// A git that runs beside others.
pub(super) struct Running(Child);

/// git in a folder: whoever owns the checkout, without hooks and monitors that it may have set, and without the
/// repository that the environment may name.
pub(super) fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"GIT_") {
            command.env_remove(name);
        }
    }
    command.envs([("GIT_OPTIONAL_LOCKS", "0"), ("GIT_TERMINAL_PROMPT", "0"), ("LC_ALL", "C")]);
    command.env("GIT_DISCOVERY_ACROSS_FILESYSTEM", "1");
    for setting in ["safe.directory=*", "core.fsmonitor=false", "core.hooksPath=/dev/null"] {
        command.args(["-c", setting]);
    }
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(super) fn start(folder: &Path, arguments: &[&str]) -> Result<Running, SourcesError> {
    spawn(&mut git(folder, arguments))
}

/// What a git that succeeds prints.
pub(super) fn run(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, SourcesError> {
    start(folder, arguments)?.stdout()
}

pub(super) fn spawn(command: &mut Command) -> Result<Running, SourcesError> {
    match command.spawn() {
        Ok(child) => Ok(Running(child)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(SourcesError::Git("the program git is not on the PATH".into()))
        }
        Err(error) => Err(SourcesError::Git(format!("git does not start: {error}"))),
    }
}

impl Running {
    pub(super) fn output(self) -> Result<Output, SourcesError> {
        Ok(self.0.wait_with_output()?)
    }

    /// # Errors
    /// Where it fails, with what it said.
    pub(super) fn stdout(self) -> Result<Vec<u8>, SourcesError> {
        let output = self.output()?;
        if output.status.success() { Ok(output.stdout) } else { Err(failure(&output)) }
    }
}

/// What a git that failed said.
pub(super) fn failure(output: &Output) -> SourcesError {
    let said = String::from_utf8_lossy(&output.stderr);
    let fatal = said.lines().find_map(|line| line.strip_prefix("fatal: "));
    match fatal.or_else(|| said.lines().find(|line| !line.trim().is_empty())) {
        Some(line) => SourcesError::Git(line.trim().to_owned()),
        None => SourcesError::Git(format!("git ended with {}", output.status)),
    }
}
