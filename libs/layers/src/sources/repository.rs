//! The repository of a layer: the commit, branches, tags and index of the checkout, without remotes, credentials and
//! hooks. It borrows the checkout's objects.

use std::{fmt::Write as _, fs, os::unix::ffi::OsStrExt, path::Path, process::Command};

use super::{SourcesError, checkout::Checkout, git};

/// Settings of a checkout that decide what git takes for a change.
const KEPT: &str = r"^core\.(autocrlf|eol|ignorecase|filemode|precomposeunicode)$";

/// Writes the repository of the layer that is being made at `target`.
pub(super) fn write(root: &Path, checkout: &Checkout, target: &Path) -> Result<(), SourcesError> {
    let repository = target.join(".git");
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
        fs::create_dir_all(repository.join(folder))?;
    }
    let put = |name: &str, content: &[u8]| fs::write(repository.join(name), content);
    let head = match (&checkout.branch, &checkout.commit) {
        (Some(branch), _) => format!("ref: {branch}\n"),
        (None, Some(commit)) => format!("{commit}\n"),
        (None, None) => "ref: refs/heads/main\n".into(),
    };
    put("HEAD", head.as_bytes())?;
    put("config", config(root, checkout)?.as_bytes())?;
    put("objects/info/alternates", &[checkout.objects.as_os_str().as_bytes(), b"\n"].concat())?;
    for (name, content) in [("shallow", &checkout.shallow), ("info/exclude", &checkout.exclude)] {
        if let Some(content) = content {
            put(name, content)?;
        }
    }
    put("packed-refs", packed_refs(root, checkout)?.as_bytes())?;
    index(root, checkout, target)
}

/// `st_ctime` and inodes of a layer are not those of the checkout, and change when another layer shares a file.
fn config(root: &Path, checkout: &Checkout) -> Result<String, SourcesError> {
    let mut config = String::from("[core]\n\trepositoryformatversion = ");
    config.push_str(if checkout.format == "sha1" { "0\n" } else { "1\n" });
    config.push_str("\tbare = false\n\tlogallrefupdates = false\n\ttrustctime = false\n\tcheckStat = minimal\n");
    let kept = git::start(root, &["config", "-z", "--get-regexp", KEPT])?.output()?;
    for setting in String::from_utf8_lossy(&kept.stdout).split('\0') {
        let (name, value) = setting.split_once('\n').unwrap_or((setting, "true"));
        if let Some(name) = name.strip_prefix("core.") {
            let _ = writeln!(config, "\t{name} = {value}");
        }
    }
    if checkout.format != "sha1" {
        let _ = writeln!(config, "[extensions]\n\tobjectFormat = {}", checkout.format);
    }
    Ok(config)
}

/// All references in one file. Those to annotated tags are followed by the commit.
fn packed_refs(root: &Path, checkout: &Checkout) -> Result<String, SourcesError> {
    let mut refs: Vec<(&str, &str, Option<&str>)> = Vec::new();
    for line in checkout.refs.lines() {
        let Some((object, name)) = line.split_once(' ') else { continue };
        match (name.strip_suffix("^{}"), refs.last_mut()) {
            (Some(name), Some((_, known, peeled))) if name == *known => *peeled = Some(object),
            (Some(_), _) => {}
            (None, _) => refs.push((object, name, None)),
        }
    }
    // The tree of the commit is that of the whole checkout, the files are those of a folder in it.
    let replaced = replacement(root, checkout);
    if let Some((tree, name)) = &replaced {
        refs.push((tree, name, None));
    }
    refs.sort_by_key(|(_, name, _)| *name);
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for (object, name, peeled) in refs {
        let _ = writeln!(packed, "{object} {name}");
        if let Some(peeled) = peeled {
            let _ = writeln!(packed, "^{peeled}");
        }
    }
    Ok(packed)
}

/// The tree of the workspace's folder, and the reference by which git takes it for the tree of the commit.
fn replacement(root: &Path, checkout: &Checkout) -> Option<(String, String)> {
    if checkout.prefix.as_os_str().is_empty() || checkout.commit.is_none() {
        return None;
    }
    let said = git::run(root, &["rev-parse", "--verify", "HEAD:./"]).ok()?;
    let tree = git::run(root, &["rev-parse", "--verify", "HEAD^{tree}"]).ok()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    Some((text(said), format!("refs/replace/{}", text(tree))))
}

/// The index of the checkout, as far as it speaks of the workspace.
fn index(root: &Path, checkout: &Checkout, target: &Path) -> Result<(), SourcesError> {
    let index = target.join(".git/index");
    let is_copied = checkout.prefix.as_os_str().is_empty() && copy_index(root, checkout, &index)?;
    if !is_copied {
        let staged = git::run(root, &["ls-files", "-z", "--stage"])?;
        let input = target.join(".git/staged");
        fs::write(&input, staged)?;
        let mut add = in_layer(target, &["update-index", "-z", "--index-info"]);
        add.stdin(fs::File::open(&input)?);
        git::spawn(&mut add)?.stdout()?;
        fs::remove_file(input)?;
    }
    if index.exists() {
        // It ends with 1 where files differ from what is staged.
        git::spawn(&mut in_layer(target, &["update-index", "-q", "--refresh"]))?.output()?;
    }
    Ok(())
}

/// Copies the file, whose times of files are those of the layer. False where it cannot be used on its own.
fn copy_index(root: &Path, checkout: &Checkout, target: &Path) -> Result<bool, SourcesError> {
    let found = match fs::metadata(&checkout.index) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    fs::copy(&checkout.index, target)?;
    // git compares times of files with that of the index.
    fs::File::options().write(true).open(target)?.set_modified(found.modified()?)?;
    let whole = ["update-index", "--no-split-index", "--no-untracked-cache", "--no-fsmonitor", "--force-write-index"];
    let mut command = git::git(root, &["-c", "index.sparse=false"]);
    command.args(whole).env("GIT_INDEX_FILE", target);
    let is_whole = git::spawn(&mut command)?.output()?.status.success();
    if !is_whole {
        fs::remove_file(target)?;
    }
    Ok(is_whole)
}

/// git on the repository of the layer.
fn in_layer(target: &Path, arguments: &[&str]) -> Command {
    let mut command = git::git(target, arguments);
    command.env("GIT_DIR", target.join(".git")).env("GIT_WORK_TREE", target);
    command
}
