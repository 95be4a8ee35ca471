//! What is read of a view from outside is what a process in it sees, and never anything beyond it.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use packline_builder_worker::{
    guard::{PhaseEnd, PhaseRun, Protected, View},
    view::{Kind, Merged},
};
use rustix::fs::{XattrFlags, lsetxattr};

use crate::{guard::run, seat::Seat, view::in_view};

/// Random changes of a small tree, as a shell script. `marks` tells contents of one round from those of another.
pub(crate) fn changes(random: &mut fastrand::Rng, at: &Path, marks: &str) -> String {
    let mut script = String::from("exec 2>/dev/null\n");
    for n in 0..40 {
        let mut path = || {
            let parts: Vec<&str> =
                (0..random.usize(1..4)).map(|_| *random.choice(&["a", "b", "c", "d"]).unwrap()).collect();
            parts.join("/")
        };
        let (one, other) = (path(), path());
        let parent = |path: &str| path.rsplit_once('/').map_or_else(String::new, |(up, _)| format!("mkdir -p {up}; "));
        let at = at.display();
        script += &match random.usize(0..10) {
            0..3 => format!("{}echo {marks}-{n} > {one}", parent(&one)),
            3 => format!("mkdir -p {one}/{other}"),
            4 => format!("rm -rf {one}"),
            5 => format!("{}mv -T {one} {other}", parent(&other)),
            6 => format!("rm -rf {one}; echo {marks}-{n} > {one}"),
            7 => format!("rm -rf {one}; mkdir {one} && echo {marks}-{n} > {one}/new"),
            8 => {
                let targets = [
                    other.clone(),
                    format!("../{other}"),
                    format!("../../{other}"),
                    format!("{at}/{other}"),
                    format!("{at}/../atx/secret"),
                    "../atx".to_owned(),
                    "../../atx/secret".to_owned(),
                    format!("{at}x/secret"),
                ];
                let target = random.choice(&targets).unwrap();
                format!("{}ln -sn {target} {one}", parent(&one))
            }
            _ => format!("echo {marks}-{n} >> {one}"),
        };
        script.push('\n');
    }
    script
}

const LISTING: &str = r"find . -mindepth 1 -printf '%y %P %l\n'; echo ---; \
    find -L . -mindepth 1 -maxdepth 6 -printf '%y %P\n' 2>/dev/null; echo ---; \
    find -L . -mindepth 1 -maxdepth 6 -type f -exec head -v -c 1000 {} + 2>/dev/null; true";

/// Compares one view with what a process in it printed.
fn compare(seen: &Merged, printed: &str, how: &str) {
    let [listing, followed, contents] = printed.split("---\n").collect::<Vec<_>>().try_into().unwrap();
    let mut expected = BTreeMap::new();
    for line in listing.lines() {
        let (kind, rest) = line.split_at(1);
        let (path, target) = rest[1..].split_once(' ').unwrap();
        expected.insert(path.to_owned(), (kind.to_owned(), target.to_owned()));
    }
    let mut found = BTreeMap::new();
    seen.walk(Path::new(""), |path, kind| {
        let letter = match kind {
            Kind::File => "f",
            Kind::Folder => "d",
            Kind::Link => "l",
            Kind::Other => "o",
        };
        assert_eq!(seen.kind(path).unwrap(), Some(kind), "{how}: {path:?}");
        let target = seen.target(path).unwrap().map_or_else(String::new, |target| target.display().to_string());
        found.insert(path.display().to_string(), (letter.to_owned(), target));
        true
    });
    assert_eq!(found, expected, "{how}");
    for line in followed.lines().filter(|line| line.starts_with('l')) {
        assert!(!seen.exists(Path::new(&line[2..])), "{how}: {line}");
    }
    let mut files = 0;
    for file in contents.split("==> ./").skip(1) {
        let (path, content) = file.split_once(" <==\n").unwrap();
        let read = seen.read(Path::new(path), 10_000).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
        let place = seen.find(Path::new(path)).map(|place| fs::read_to_string(place).unwrap());
        assert_eq!(read, place, "{how}: {path}");
        if content.contains("secret") {
            assert_eq!(read, None, "{how}: {path} leads out");
        } else {
            assert_eq!(read.as_deref().map(str::trim_end), Some(content.trim_end()), "{how}: {path}");
            files += 1;
        }
    }
    assert!(files > 0 || !expected.values().any(|(kind, _)| kind == "f"), "{how}");
}

#[tokio::test]
async fn a_view_is_read_from_outside_as_a_process_in_it_sees_it() {
    for seat in Seat::all() {
        for seed in 0..5 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (own, how) = (seat.own().join(seed.to_string()), format!("seed {seed} of user {}", seat.uid));
            seat.write(&own.join("atx/secret"), "secret");
            seat.create(&own.join("at"));
            let mut lower = Vec::new();
            let (mut guard, _fuse) = seat.guard(&how);
            // What one round writes lies below the next one.
            for round in 0..3 {
                let upper = own.join(format!("round-{round}"));
                if round == 0 {
                    seat.create(&own.join("base"));
                    lower.push(own.join("base"));
                }
                let (at, work) = (own.join("at"), own.join("work"));
                let view = View { at: at.clone(), lower: lower.clone(), upper: upper.clone(), work };
                // Links lead out, and nothing is to be written by them.
                let protected = Some(Protected { folder: own.join("atx"), except: at.clone() });
                let script = format!("{}\n{LISTING}", changes(&mut random, &at, &format!("{round}")));
                let change = PhaseRun { protected, ..in_view("merged", &view, &script) };
                let (end, printed) = run(&mut guard, change).await;
                assert_eq!(end, PhaseEnd::Exited { status: 0 }, "{how}");
                compare(&Merged::of(&view), &printed, &format!("{how}, round {round}"));
                lower.insert(0, upper);
            }
            guard.finish().await;
        }
    }
}

#[test]
fn nothing_beyond_a_view_is_read_whatever_a_build_left() {
    let place = tempfile::tempdir().unwrap();
    let (at, upper, lower) = (place.path().join("at"), place.path().join("upper"), place.path().join("lower"));
    for folder in [&at, &upper, &lower.join("package/inner")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(place.path().join("secret"), "secret").unwrap();
    fs::write(lower.join("package/inner/file"), "inside").unwrap();
    let seen = Merged::new(&at, [upper.clone(), lower.clone()]);
    let read = |path: &str| seen.read(Path::new(path), 100).unwrap();
    let link = |target: &str, name: &str| symlink(target, upper.join(name)).unwrap();
    link("../secret", "up");
    link("..", "folder");
    link("/", "root");
    link(&place.path().join("secret").display().to_string(), "absolute");
    link(&upper.join("own").display().to_string(), "by-the-layers-name");
    link("loop", "loop");
    fs::write(upper.join("own"), "").unwrap();
    for path in ["up", "folder/secret", "root/etc/passwd", "absolute", "by-the-layers-name", "loop", "../secret"] {
        assert_eq!((read(path), seen.find(Path::new(path))), (None, None), "{path}");
        assert!(!seen.exists(Path::new(path)) && seen.entries(Path::new(path)).unwrap().is_none(), "{path}");
    }
    assert_eq!(read(place.path().join("secret").to_str().unwrap()), None, "an absolute path is none of a view");
    link(&at.join("package/inner/file").display().to_string(), "absolute-inside");
    link("package/inner/../inner/file", "inside");
    for path in ["absolute-inside", "inside", "package/../package/./inner/file"] {
        assert_eq!(read(path).as_deref(), Some(b"inside".as_slice()), "{path}");
        assert_eq!(seen.find(Path::new(path)), Some(lower.join("package/inner/file")), "{path}");
    }
    assert_eq!(read("package/inner"), None, "a folder is no file");
    assert_eq!(seen.find(Path::new("package")), Some(lower.join("package")));
    nix::unistd::mkfifo(&upper.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!((read("pipe"), seen.kind(Path::new("pipe")).unwrap()), (None, Some(Kind::Other)));
    let error = seen.read(Path::new("inside"), 5).unwrap_err();
    assert_eq!(error.to_string(), "inside is larger than 5 bytes");
}

#[test]
fn whiteouts_and_opaque_folders_hide_what_lies_below() {
    let place = tempfile::tempdir().unwrap();
    let (upper, lower) = (place.path().join("upper"), place.path().join("lower"));
    for folder in ["opaque", "open"] {
        fs::create_dir_all(upper.join(folder)).unwrap();
        fs::create_dir_all(lower.join(folder)).unwrap();
        fs::write(upper.join(folder).join("new"), "").unwrap();
        fs::write(lower.join(folder).join("old"), "").unwrap();
        fs::write(upper.join(folder).join("gone"), "").unwrap();
        fs::write(lower.join(folder).join("gone"), "").unwrap();
        let whiteout = upper.join(folder).join("gone");
        lsetxattr(&whiteout, "user.overlay.whiteout", b"y", XattrFlags::empty()).unwrap();
    }
    lsetxattr(upper.join("opaque"), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    let seen = Merged::new("/at", [upper, lower.clone(), place.path().join("missing")]);
    let names = |path: &str| -> Vec<String> {
        let entries = seen.entries(Path::new(path)).unwrap().unwrap();
        entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
    };
    assert_eq!((names("opaque"), names("open")), (vec!["new".into()], vec!["new".into(), "old".into()]));
    assert!(!seen.exists(Path::new("opaque/old")) && !seen.exists(Path::new("open/gone")));
    assert_eq!(seen.find(Path::new("open/old")), Some(lower.join("open/old")));
}
