//! What the sources of a workspace are.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, fs::symlink, net::UnixListener},
};

use packline_layers::sources::LeftOut;

use crate::place::{Place, assert_listed, names, tree};

#[test]
fn sources_of_a_checkout_are_what_git_tracks_and_what_it_does_not_ignore() {
    let place = Place::checkout();
    place.put(".gitignore", "dist\n.env.local\nnode_modules\n!fixtures/**/node_modules\n");
    place.put("src/index.js", "1");
    place.put("bin/run", "#!");
    fs::set_permissions(place.root().join("bin/run"), fs::Permissions::from_mode(0o700)).unwrap();
    place.put(".config/x", "dot");
    place.put(".env.test", "tracked");
    place.put("fixtures/node_modules/a/index.js", "fixture");
    place.put("gone.js", "");
    symlink("src/index.js", place.root().join("link")).unwrap();
    place.commit("second");
    place.put("src/index.js", "changed");
    place.put("src/new ü\n.js", "untracked");
    place.remove("gone.js");
    place.put("dist/index.js", "old output");
    place.put("packages/a/dist/index.js", "old output");
    place.put(".env.local", "secret");
    place.put("node_modules/left-pad/index.js", "installed");
    let sources = place.take();
    let tree = tree(&sources.path);
    let found: Vec<(&str, &str)> = tree.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    let ignored = "dist\n.env.local\nnode_modules\n!fixtures/**/node_modules\n";
    assert_eq!(
        found,
        [
            (".config/x", "dot"),
            (".env.test", "tracked"),
            (".gitignore", ignored),
            ("bin/run", "!#!"),
            ("fixtures/node_modules/a/index.js", "fixture"),
            ("link", "-> src/index.js"),
            ("package.json", "{}"),
            ("src/index.js", "changed"),
            ("src/new ü\n.js", "untracked"),
        ]
    );
    assert_listed(&sources);
    assert_eq!(sources.left_out, LeftOut { ignored: 2, env: 1, node_modules: 1, ..LeftOut::default() });
    assert_eq!(sources.commit, Some(place.git(&["rev-parse", "HEAD"])));
}

#[test]
fn sources_of_another_folder_are_all_but_what_is_installed_or_secret() {
    let mut place = Place::new();
    place.members = vec!["packages/a".into(), "./packages/b".into()];
    for path in [
        "package.json",
        ".config/x",
        "dist/index.js",
        "packages/a/index.js",
        "packages/a/test/node_modules/x/index.js",
        "node_modules/x/index.js",
        "packages/a/node_modules/x/index.js",
        "packages/b/node_modules/x/index.js",
        "packages/c/node_modules/x/index.js",
        ".env",
        "packages/a/.env.local",
        ".packline/settings",
        "packages/a/.git/config",
        "packages/a/.git/HEAD",
    ] {
        place.put(path, "");
    }
    fs::create_dir_all(place.root().join("empty/inner")).unwrap();
    let sources = place.take();
    assert_eq!(
        names(&sources.path),
        [
            ".config/x",
            "dist/index.js",
            "empty/inner",
            "package.json",
            "packages/a/index.js",
            "packages/a/test/node_modules/x/index.js",
            "packages/c/node_modules/x/index.js",
        ]
    );
    assert_listed(&sources);
    assert_eq!(sources.left_out, LeftOut { env: 2, node_modules: 3, repositories: 1, ..LeftOut::default() });
    assert_eq!((sources.commit, sources.objects), (None, None));
    assert!(!sources.path.join(".git").exists());
}

#[test]
fn a_link_that_leads_out_is_left_out_and_counted() {
    for place in [Place::new(), Place::checkout()] {
        place.put("a/file", "");
        let link = |target: &str, name: &str| symlink(target, place.root().join(name)).unwrap();
        link("../a/file", "a/inside");
        link("nowhere", "a/dangling");
        link("../..", "a/out");
        link("/etc/passwd", "absolute");
        link(place.root().canonicalize().unwrap().join("a").to_str().unwrap(), "folder");
        let sources = place.take();
        let tree = tree(&sources.path);
        let links: Vec<_> = tree.iter().filter(|(_, content)| content.starts_with("->")).collect();
        let links: Vec<(&str, &str)> = links.iter().map(|(name, says)| (name.as_str(), says.as_str())).collect();
        assert_eq!(links, [("a/dangling", "-> nowhere"), ("a/inside", "-> ../a/file"), ("folder", "-> a")]);
        assert_eq!(sources.left_out.links, 2);
        assert_listed(&sources);
    }
}

#[test]
fn a_file_beyond_a_link_is_no_source() {
    let place = Place::checkout();
    place.put("a/file", "tracked");
    place.commit("second");
    place.put("../outside/file", "secret");
    fs::remove_dir_all(place.root().join("a")).unwrap();
    symlink("../outside", place.root().join("a")).unwrap();
    let sources = place.take();
    assert_eq!(names(&sources.path), ["package.json"]);
    assert_eq!(sources.left_out.links, 1);
}

#[test]
fn sockets_and_pipes_are_left_out_and_counted() {
    for place in [Place::new(), Place::checkout()] {
        place.put("tracked", "");
        let _socket = UnixListener::bind(place.root().join("socket")).unwrap();
        let sources = place.take();
        assert!(!names(&sources.path).contains(&"socket".to_owned()));
        // git does not list it at all.
        assert_eq!(sources.left_out.special, u64::from(sources.commit.is_none()));
    }
}

#[test]
fn credentials_in_settings_of_root_and_members_are_left_out() {
    let mut place = Place::checkout();
    place.members = vec!["packages/a".into()];
    let npmrc = "registry=https://r.example/\n//r.example/:_authToken=secret\n";
    for path in [".npmrc", "packages/a/.npmrc", "packages/a/fixtures/.npmrc"] {
        place.put(path, npmrc);
    }
    place.put(".yarnrc.yml", "npmAuthToken: secret\n");
    let sources = place.take();
    let tree = tree(&sources.path);
    assert_eq!(tree.get(".npmrc").unwrap(), "registry=https://r.example/\n");
    assert_eq!(tree.get("packages/a/.npmrc").unwrap(), "registry=https://r.example/\n");
    assert_eq!(tree.get("packages/a/fixtures/.npmrc").unwrap(), npmrc);
    assert_eq!(tree.get(".yarnrc.yml").unwrap(), "npmAuthToken: \"\"\n");
    assert_eq!(sources.left_out.credentials, 3);
    let digest = sources.digest;
    place.put(".npmrc", "registry=https://r.example/\n//r.example/:_authToken=other\n");
    assert_eq!(place.take().digest, digest, "another token is the same state");
}

#[test]
fn folders_that_are_left_out_are_not_looked_into() {
    for mut place in [Place::new(), Place::checkout()] {
        let scratch = place.root().join("scratch");
        place.put("scratch/build/file", "");
        place.put("node_modules/x/index.js", "");
        place.put(".packline/state", "");
        place.leave_out = vec![scratch];
        let sources = place.take();
        let expected: &[&str] = if sources.commit.is_some() { &["package.json"] } else { &[] };
        assert_eq!(names(&sources.path), expected, "not even where git ignores none of it");
        assert_eq!(sources.left_out, LeftOut { node_modules: 1, ..LeftOut::default() });
    }
}
