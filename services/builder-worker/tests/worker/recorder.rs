//! An npm that writes down how it is called, and then is the real one, or does nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::foreman::Foreman;

/// What the calls of npm were.
pub(crate) struct Recorder {
    folder: PathBuf,
    /// A PATH on which this npm is.
    pub(crate) path: String,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) arguments: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    /// The name of the process above it.
    pub(crate) parent: String,
    /// Its configuration file.
    pub(crate) settings: String,
}

impl Call {
    /// The first arguments, up to the first flag.
    pub(crate) fn command(&self) -> String {
        let words: Vec<&str> =
            self.arguments.iter().map(String::as_str).take_while(|word| !word.starts_with(['-', '/'])).collect();
        words.join(" ")
    }

    /// The variable PHASE.
    pub(crate) fn phase(&self) -> &str {
        self.env.get("PHASE").map_or("", String::as_str)
    }
}

impl Recorder {
    /// Passes each call on to the real npm.
    pub(crate) fn before_npm(foreman: &Foreman) -> Self {
        let path = std::env::var_os("PATH").unwrap();
        let real = std::env::split_paths(&path).map(|folder| folder.join("npm")).find(|npm| npm.is_file()).unwrap();
        Self::before(foreman, &format!("exec '{}' \"$@\"", real.display()))
    }

    /// Goes on with this shell script.
    pub(crate) fn before(foreman: &Foreman, then: &str) -> Self {
        let folder = foreman.folder().join("calls");
        fs::create_dir(&folder).unwrap();
        let script = format!(
            r#"n='{}'/$(ls '{}' | wc -l)
env > "$n.env"
mkdir "$n"
mv "$n.env" "$n/env"
printf '%s\n' "$@" > "$n/arguments"
pwd > "$n/cwd"
cat /proc/$PPID/comm > "$n/parent"
for argument in "$@"; do
    case $argument in --userconfig=*) cat "${{argument#*=}}" > "$n/settings" ;; esac
done
{then}"#,
            folder.display(),
            folder.display()
        );
        let path = foreman.path_with_npm(&script);
        Self { folder, path }
    }

    /// All calls so far, in order; those of builds that ran one after the other.
    pub(crate) fn calls(&self) -> Vec<Call> {
        (0..)
            .map(|n| self.folder.join(n.to_string()))
            .take_while(|call| call.exists())
            .map(|call| read(&call))
            .collect()
    }
}

fn read(call: &Path) -> Call {
    // What a shell sets by itself.
    const OF_SHELLS: [&str; 4] = ["PWD", "OLDPWD", "SHLVL", "_"];
    let text = |file: &str| fs::read_to_string(call.join(file)).unwrap_or_default();
    let env = text("env");
    let env = env.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| !OF_SHELLS.contains(name));
    Call {
        arguments: text("arguments").lines().map(str::to_owned).collect(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        cwd: text("cwd").trim_end().into(),
        parent: text("parent").trim_end().to_owned(),
        settings: text("settings"),
    }
}
