//! What git says in the layer of a checkout.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use packline_layers::sources::{Sources, SourcesError};

use crate::{
    helper,
    place::{Place, assert_listed, git, names, put, try_git},
};

/// git in the layer.
fn says(sources: &Sources, arguments: &[&str]) -> String {
    git(&sources.path, arguments)
}

#[test]
fn the_layer_is_at_the_commit_with_its_branches_and_tags() {
    let place = Place::checkout();
    place.git(&["tag", "-a", "v1.0.0", "-m", "release"]);
    place.git(&["tag", "light"]);
    place.git(&["branch", "other/branch"]);
    place.git(&["pack-refs", "--all"]);
    place.put("a", "1");
    place.commit("second");
    place.git(&["branch", "third"]);
    let sources = place.take();
    for arguments in [
        &["rev-parse", "HEAD"][..],
        &["rev-parse", "--abbrev-ref", "HEAD"],
        &["describe"],
        &["describe", "--tags", "--exact-match", "HEAD~1"],
        &["log", "--format=%H %s"],
        &["for-each-ref"],
        &["cat-file", "-p", "v1.0.0"],
        &["ls-files", "--stage"],
    ] {
        assert_eq!(says(&sources, arguments), place.git(arguments), "{arguments:?}");
    }
    assert_eq!(says(&sources, &["status", "--porcelain"]), "");
    assert_eq!(says(&sources, &["rev-parse", "--show-toplevel"]), sources.path.to_str().unwrap());
    assert!(says(&sources, &["describe"]).starts_with("v1.0.0-1-g"));
    says(&sources, &["fsck"]);
}

#[test]
fn the_repository_has_no_remotes_credentials_or_hooks() {
    let place = Place::checkout();
    place.git(&["remote", "add", "origin", "https://user:secret@example.org/x.git"]);
    place.git(&["config", "http.extraHeader", "Authorization: secret"]);
    place.git(&["config", "credential.helper", "store"]);
    place.git(&["config", "core.hooksPath", "hooks"]);
    place.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let hook = place.root().join(".git/hooks/pre-commit");
    put(&hook, "#!/bin/sh\nexit 1\n");
    fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
    let sources = place.take();
    assert_eq!(says(&sources, &["remote"]), "");
    assert_eq!(says(&sources, &["for-each-ref", "refs/remotes"]), "");
    let config = fs::read_to_string(sources.path.join(".git/config")).unwrap();
    assert!(!config.contains("secret") && !config.contains("hooks") && !config.contains("store"), "{config}");
    assert!(!sources.path.join(".git/hooks").exists());
}

#[test]
fn git_sees_the_same_changes_in_the_layer() {
    let place = Place::checkout();
    for name in ["staged", "changed", "deleted", "both"] {
        place.put(name, "1");
    }
    place.commit("second");
    place.put("staged", "22");
    place.put("both", "22");
    place.put("new", "staged");
    place.git(&["add", "staged", "both", "new"]);
    place.put("changed", "22");
    place.put("both", "333");
    place.put("untracked", "");
    place.remove("deleted");
    let sources = place.take();
    let status = place.git(&["status", "--porcelain"]);
    assert_eq!(status, "MM both\n M changed\n D deleted\nA  new\nM  staged\n?? untracked");
    assert_eq!(says(&sources, &["status", "--porcelain"]), status);
    assert_eq!(says(&sources, &["diff"]), place.git(&["diff"]));
    let digest = sources.digest;
    place.git(&["add", "-A"]);
    let staged = place.take();
    assert_eq!(staged.digest, digest, "the files are the same");
    assert_eq!(says(&staged, &["status", "--porcelain"]), place.git(&["status", "--porcelain"]));
}

#[test]
fn a_build_can_commit_in_the_layer_and_the_checkout_does_not_notice() {
    let place = Place::checkout();
    let sources = place.take();
    put(&sources.path.join("generated"), "1");
    says(&sources, &["add", "-A"]);
    says(&sources, &["commit", "-q", "-m", "generated"]);
    let commit = says(&sources, &["rev-parse", "HEAD"]);
    assert_ne!(commit, place.git(&["rev-parse", "HEAD"]));
    assert!(!try_git(&place.root(), &["cat-file", "-e", &commit]).0, "the object is in the layer alone");
}

#[test]
fn a_linked_work_tree_and_a_shallow_clone_are_checkouts() {
    let place = Place::checkout();
    place.put("a", "1");
    place.commit("second");
    place.git(&["worktree", "add", "-q", "../linked", "-b", "linked"]);
    place.git(&["clone", "-q", "--depth", "1", &format!("file://{}", place.root().display()), "../shallow"]);
    for (name, commits) in [("linked", 2), ("shallow", 1)] {
        let mut request = place.request();
        request.root = place.path().join(name);
        put(&request.root.join("untracked"), "");
        let sources = packline_layers::sources::take(&request).unwrap();
        assert_eq!(names(&sources.path), ["a", "package.json", "untracked"], "{name}");
        assert_eq!(says(&sources, &["rev-parse", "HEAD"]), git(&request.root, &["rev-parse", "HEAD"]));
        assert_eq!(says(&sources, &["log", "--format=%s"]).lines().count(), commits, "{name}");
        assert_eq!(says(&sources, &["status", "--porcelain"]), "?? untracked", "{name}");
    }
}

#[test]
fn files_of_submodules_are_there_where_they_are_checked_out() {
    let place = Place::checkout();
    let library = Place::checkout();
    library.put("lib.js", "1");
    library.put(".gitignore", "out\n");
    library.commit("second");
    let url = library.root().display().to_string();
    for name in ["libs/one", "libs/two"] {
        place.git(&["submodule", "add", "-q", &url, name]);
    }
    place.commit("submodules");
    place.git(&["submodule", "deinit", "-q", "-f", "libs/two"]);
    place.put("libs/one/out/x", "old output");
    place.put("libs/one/new.js", "untracked");
    let sources = place.take();
    let expected = [
        ".gitmodules",
        "libs/one/.gitignore",
        "libs/one/lib.js",
        "libs/one/new.js",
        "libs/one/package.json",
        "libs/two",
    ];
    assert_eq!(names(&sources.path), expected.into_iter().chain(["package.json"]).collect::<Vec<_>>());
    assert_eq!(says(&sources, &["status", "--porcelain"]), "");
    assert!(says(&sources, &["ls-files", "--stage"]).contains("160000"));
}

#[test]
fn a_repository_that_is_no_submodule_yet_is_a_source_without_its_repository() {
    let place = Place::checkout();
    let inner = place.root().join("inner");
    fs::create_dir(&inner).unwrap();
    git(&inner, &["init", "-q"]);
    place.put("inner/.gitignore", "out\n");
    place.put("inner/a", "");
    place.put("inner/out", "");
    let sources = place.take();
    assert_eq!(names(&sources.path), ["inner/.gitignore", "inner/a", "package.json"]);
    assert!(!sources.path.join("inner/.git").exists());
}

#[test]
fn a_folder_in_a_checkout_has_its_commit_and_a_clean_state() {
    let mut place = Place::checkout();
    place.put("apps/web/package.json", "{}");
    place.put("apps/web/src/index.js", "1");
    place.put("other", "1");
    place.commit("second");
    place.git(&["tag", "v1"]);
    place.put("other", "changed");
    let mut request = place.request();
    request.root = place.root().join("apps/web");
    let sources = packline_layers::sources::take(&request).unwrap();
    assert_eq!(names(&sources.path), ["package.json", "src/index.js"]);
    assert_listed(&sources);
    assert_eq!(says(&sources, &["rev-parse", "HEAD"]), place.git(&["rev-parse", "HEAD"]));
    assert_eq!(says(&sources, &["describe", "--tags"]), "v1");
    assert_eq!(says(&sources, &["status", "--porcelain"]), "");
    put(&request.root.join("src/index.js"), "22");
    let changed = packline_layers::sources::take(&request).unwrap();
    assert_eq!(says(&changed, &["status", "--porcelain"]), " M src/index.js");
    place.put(".gitignore", "scratch\n");
    place.put("scratch/w/package.json", "{}");
    request.root = place.root().join("scratch/w");
    place.members = Vec::new();
    let ignored = packline_layers::sources::take(&request).unwrap();
    assert_eq!((names(&ignored.path), ignored.commit), (vec!["package.json".to_owned()], None), "it is no part of it");
}

#[test]
fn a_checkout_without_a_commit_or_without_a_branch_is_one() {
    let place = Place::new();
    place.git(&["init", "-q", "-b", "trunk"]);
    place.put("a", "");
    let sources = place.take();
    assert_eq!((names(&sources.path), sources.commit.clone()), (vec!["a".to_owned()], None));
    assert_eq!(says(&sources, &["symbolic-ref", "HEAD"]), "refs/heads/trunk");
    assert_eq!(says(&sources, &["status", "--porcelain"]), "?? a");
    place.commit("first");
    place.git(&["checkout", "-q", "--detach"]);
    let detached = place.take();
    assert_eq!(detached.commit, Some(place.git(&["rev-parse", "HEAD"])));
    assert_eq!(says(&detached, &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD");
    assert_eq!(says(&detached, &["status", "--porcelain"]), "");
}

#[test]
fn indexes_and_objects_of_other_forms_are_read() {
    let place = Place::new();
    place.git(&["init", "-q", "--object-format=sha256"]);
    place.put("a/1", "");
    place.put("b/2", "");
    place.commit("first");
    place.git(&["update-index", "--split-index", "--untracked-cache"]);
    let sources = place.take();
    assert_eq!(sources.commit.as_ref().unwrap().len(), 64);
    assert_eq!(says(&sources, &["status", "--porcelain"]), "");
    place.git(&["sparse-checkout", "set", "--sparse-index", "b"]);
    let sparse = place.take();
    assert_eq!(names(&sparse.path), ["b/2"]);
    assert_eq!(says(&sparse, &["status", "--porcelain"]), "", "what is not checked out is not deleted");
}

#[test]
fn a_checkout_of_somebody_else_is_read() {
    let place = Place::checkout();
    let root = place.root();
    if std::os::unix::fs::chown(&root, Some(12345), None).is_err() {
        println!("left out: only root can give a checkout to somebody else");
        return;
    }
    std::os::unix::fs::chown(root.join(".git"), Some(12345), None).unwrap();
    assert!(try_git(&root, &["status"]).1.contains("dubious ownership"), "git refuses it by itself");
    let sources = place.take();
    assert_eq!(names(&sources.path), ["package.json"]);
    says(&sources, &["status"]);
}

/// Checks that sources are refused with a reason that has these words.
fn assert_unreadable(taken: Result<Sources, SourcesError>, words: &str) {
    match taken {
        Err(SourcesError::Git(reason)) => assert!(reason.contains(words), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_checkout_that_git_cannot_read_is_not_read_as_another_folder() {
    let place = Place::checkout();
    place.put(".git/index", "no index");
    assert_unreadable(place.try_take(), "index");
    place.put(".git/HEAD", "nothing");
    assert_unreadable(place.try_take(), "not a git repository");
    let linked = Place::new();
    linked.put(".git", "gitdir: /nowhere\n");
    assert_unreadable(linked.try_take(), "not a git repository");
}

#[test]
fn a_checkout_is_not_read_where_there_is_no_git() {
    let place = Place::checkout();
    let mut taking = helper::taking(&place.request());
    taking.env("PATH", "/nowhere");
    assert_unreadable(helper::answer(taking), "git is not on the PATH");
    let folder = Place::new();
    folder.put("a", "");
    let mut taking = helper::taking(&folder.request());
    taking.env("PATH", "/nowhere");
    assert_eq!(names(&helper::answer(taking).unwrap().path), ["a"], "no checkout needs no git");
}

#[test]
fn the_repository_that_the_environment_names_is_not_asked() {
    let (place, other) = (Place::checkout(), Place::new());
    let mut taking = helper::taking(&place.request());
    taking.env("GIT_DIR", other.root()).env("GIT_WORK_TREE", other.root()).env("GIT_INDEX_FILE", "/nowhere");
    assert_eq!(names(&helper::answer(taking).unwrap().path), ["package.json"]);
}

#[test]
fn a_monitor_of_the_checkout_is_not_started() {
    let place = Place::checkout();
    let monitor = place.path().join("monitor");
    put(&monitor, &format!("#!/bin/sh\ntouch {}\n", place.path().join("started").display()));
    fs::set_permissions(&monitor, fs::Permissions::from_mode(0o755)).unwrap();
    place.git(&["config", "core.fsmonitor", monitor.to_str().unwrap()]);
    place.take();
    assert!(!place.path().join("started").exists());
    assert!(Path::new(&monitor).exists());
}
