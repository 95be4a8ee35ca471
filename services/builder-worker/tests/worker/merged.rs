//! What is read of a view from outside is what a process in it sees, and never anything beyond it.

use std::{collections::BTreeMap, fs, path::Path};

use packline_builder_worker::{
    guard::{PhaseEnd, PhaseRun, Protected, View},
    view::{Kind, Merged},
};

use crate::{guard::run, seat::Seat, view::in_view};

/// Random changes of a small tree, as a shell script. `marks` tells contents of one round from those of another.
fn changes(random: &mut fastrand::Rng, at: &Path, marks: &str) -> String {
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
