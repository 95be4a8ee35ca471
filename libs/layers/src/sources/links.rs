//! Where links lead.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

/// So many links are followed on the way to what a link leads to, as the kernel does.
const FOLLOWED: usize = 40;

/// What a link says in a copy of the workspace at `root`, which is resolved: the same, where it is relative and leads
/// nowhere out of it; relative, where it is absolute and leads into it. `None` where it leads out. What it leads to
/// need not be there.
pub(super) fn inside(root: &Path, link: &Path, target: &Path) -> Option<PathBuf> {
    let folder = link.parent().unwrap_or(Path::new(""));
    if !target.is_absolute() {
        return stays(root, folder, target).then(|| target.to_owned());
    }
    let below = target.strip_prefix(root).ok()?;
    if !stays(root, Path::new(""), below) {
        return None;
    }
    let up: PathBuf = folder.components().map(|_| Component::ParentDir).collect();
    let relative = up.join(below);
    Some(if relative.as_os_str().is_empty() { ".".into() } else { relative })
}

fn stays(root: &Path, folder: &Path, target: &Path) -> bool {
    let mut at = folder.to_owned();
    let mut todo: VecDeque<OsString> = target.components().map(|part| part.as_os_str().to_owned()).collect();
    let mut followed = 0;
    while let Some(part) = todo.pop_front() {
        match part.as_encoded_bytes() {
            b"." => continue,
            b".." => {
                if !at.pop() {
                    return false;
                }
                continue;
            }
            _ => at.push(&part),
        }
        let Ok(target) = fs::read_link(root.join(&at)) else { continue };
        followed += 1;
        if followed > FOLLOWED {
            // It leads nowhere at all.
            return true;
        }
        at.pop();
        let below = if target.is_absolute() {
            at = PathBuf::new();
            match target.strip_prefix(root) {
                Ok(below) => below.to_owned(),
                Err(_) => return false,
            }
        } else {
            target
        };
        for part in below.components().rev() {
            todo.push_front(part.as_os_str().to_owned());
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_leads_out_however_it_says_so() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("..", root.join("a/up")).unwrap();
        symlink("../..", root.join("a/out")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let at = |link: &str, target: &str| inside(&root, Path::new(link), Path::new(target));
        for (link, target) in [
            ("x", "a/b"),
            ("x", "nowhere/at/all"),
            ("a/b/x", "../../a"),
            ("a/b/x", "../up/a"),
            ("a/b/x", "../.."),
            ("x", "loop/y"),
            ("x", "a/../a/./b"),
        ] {
            assert_eq!(at(link, target), Some(target.into()), "{link} -> {target}");
        }
        let root_name = root.file_name().unwrap().to_str().unwrap();
        for (link, target) in [
            ("x", ".."),
            ("x", "/etc/passwd"),
            ("a/b/x", "../../.."),
            ("x", "a/up/../y"),
            ("x", "a/out/y"),
            ("x", "etc/passwd"),
            ("x", &format!("../{root_name}/a")),
            ("x", &format!("{}-other/a", root.display())),
        ] {
            assert_eq!(at(link, target), None, "{link} -> {target}");
        }
    }

    #[test]
    fn an_absolute_link_into_the_workspace_becomes_relative() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let at = |link: &str, target: PathBuf| inside(&root, Path::new(link), &target);
        assert_eq!(at("x", root.join("a/b")), Some("a/b".into()));
        assert_eq!(at("a/b/x", root.join("c")), Some("../../c".into()));
        assert_eq!(at("x", root.clone()), Some(".".into()));
        assert_eq!(at("x", root.join("../y")), None);
    }
}
