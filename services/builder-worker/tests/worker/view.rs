//! What the processes of a phase see in a view, what they leave, and what they cannot do.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use packline_builder_worker::{
    guard::{Input, PhaseEnd, PhaseRun, View},
    view::probe,
};

use crate::{
    foreman::{Foreman, until},
    guard::{STUBBORN, alive, phase, run, wait_until_all_are_alive},
    seat::{SEAT, Seat},
};

pub(crate) fn in_view(test: &str, view: &View, script: &str) -> PhaseRun {
    PhaseRun { cwd: view.at.clone(), view: Some(view.clone()), ..phase(test, script) }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_view_shows_its_layers_and_keeps_what_is_written_apart() {
    for seat in Seat::all() {
        let (own, test) = (seat.own(), format!("shows-{}", seat.uid));
        seat.write(&own.join("top/packages/a/index.js"), "published");
        seat.write(&own.join("bottom/packages/a/index.js"), "source");
        seat.write(&own.join("bottom/packages/a/src/a.ts"), "source");
        seat.write(&own.join("bottom/node_modules/old/package.json"), "{}");
        let view = seat.view(&["top", "bottom"]);
        let (mut guard, _fuse) = seat.guard(&test);
        let script = "pwd; cat index.js src/a.ts; echo changed > src/a.ts; mkdir dist; echo built > dist/b.js; \
             rm -r ../../node_modules/old; ls ../../node_modules";
        let first = PhaseRun { cwd: view.at.join("packages/a"), ..in_view(&test, &view, script) };
        let (end, printed) = run(&mut guard, first).await;
        let cwd = view.at.join("packages/a").display().to_string();
        assert_eq!((end, printed), (PhaseEnd::Exited { status: 0 }, format!("{cwd}\npublishedsource")));
        assert_eq!(names(&view.at), Vec::<String>::new(), "outside there is nothing");
        let script = "cat packages/a/src/a.ts packages/a/dist/b.js; ls node_modules";
        let (end, printed) = run(&mut guard, in_view(&test, &view, script)).await;
        assert_eq!((end, printed.as_str()), (PhaseEnd::Exited { status: 0 }, "changed\nbuilt\n"));
        let read = |path: &str| fs::read_to_string(own.join(path)).unwrap();
        assert_eq!(read("bottom/packages/a/src/a.ts"), "source");
        assert_eq!(read("bottom/node_modules/old/package.json"), "{}");
        assert_eq!(read("upper/packages/a/src/a.ts"), "changed\n");
        assert_eq!(names(&own.join("top/packages/a")), ["index.js"]);
        let script =
            "touch ../x ../top/packages/a/x ../upper/x; rm -rf ../bottom; mkdir -p ../node_modules; ls ../bottom";
        let (end, printed) = run(&mut guard, in_view(&test, &view, script)).await;
        assert!(printed.matches("Read-only file system").count() > 4, "{printed}");
        assert_eq!((end, printed.lines().last()), (PhaseEnd::Exited { status: 0 }, Some("packages")), "{printed}");
        assert!(names(&own).iter().all(|name| name != "x" && name != "node_modules"), "{:?}", names(&own));
        let (end, _) = run(&mut guard, phase(&test, "exit 3")).await;
        assert_eq!(end, PhaseEnd::Exited { status: 3 }, "another phase does without");
        guard.finish().await;
    }
}

#[tokio::test]
async fn in_a_view_an_ordinary_user_stays_who_it_is_and_has_no_rights() {
    let Some(seat) = Seat::ordinary() else { return };
    seat.create(&seat.own().join("lower"));
    let view = seat.view(&["lower"]);
    let (mut guard, _fuse) = seat.guard("rights");
    let script = "id -u; id -g; grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -s '\\t\\n' ' '; \
         echo; umount . && echo unmounted; mount -t tmpfs none . && echo mounted; \
         umount -l /proc && echo unmounted; kill -9 1; ls /proc/1/fd /proc/1/root; cat /proc/1/environ; echo $$";
    for run in [in_view("rights", &view, script), phase("rights", script)] {
        let (end, printed) = self::run(&mut guard, run).await;
        let mut lines = printed.lines();
        let told: Vec<&str> = lines.by_ref().take(3).collect();
        let none = "0000000000000000";
        let rights =
            format!("CapInh: {none} CapPrm: {none} CapEff: {none} CapBnd: {none} CapAmb: {none} NoNewPrivs: 1 ");
        assert_eq!(told, [seat.uid.to_string(), seat.gid.to_string(), rights], "{printed}");
        let last = lines.next_back();
        assert_eq!((end, last), (PhaseEnd::Exited { status: 0 }, Some("2")), "{printed}");
        let refused: Vec<&str> = lines.collect();
        assert!(!refused.iter().any(|line| line.contains("mounted") && !line.contains(':')), "{printed}");
        assert_eq!(refused.iter().filter(|line| line.contains("Permission denied")).count(), 3, "{printed}");
    }
    guard.finish().await;
}

#[tokio::test]
async fn a_view_and_all_its_processes_are_gone_within_a_second_of_an_order_to_stop() {
    for seat in Seat::all() {
        let test = format!("stopped-view-{}", seat.uid);
        seat.write(&seat.own().join("lower/file"), "below");
        let view = seat.view(&["lower"]);
        let mut took = Vec::new();
        // A loaded machine may be late once.
        while !took.iter().any(|took| *took < Duration::from_secs(1)) {
            assert!(took.len() < 5, "each time too late: {took:?}");
            let build = format!("{test}-{}", took.len());
            let (mut guard, _fuse) = seat.guard(&build);
            let (stopper, mut stopped) = (guard.stopper(), None);
            let stubborn = in_view(&build, &view, &format!("echo written > own; {STUBBORN} wait"));
            let end = guard.run(stubborn, |_| {
                wait_until_all_are_alive(&build);
                stopped.get_or_insert_with(Instant::now);
                stopper.stop();
            });
            assert_eq!(end.await.unwrap(), PhaseEnd::Stopped);
            assert_eq!(alive(&build), Vec::<String>::new());
            took.push(stopped.unwrap().elapsed());
            guard.finish().await;
        }
        assert_eq!(names(&view.at), Vec::<String>::new());
        let (mut guard, _fuse) = seat.guard(&test);
        let (end, printed) = run(&mut guard, in_view(&test, &view, "cat own file")).await;
        assert_eq!((end, printed.as_str()), (PhaseEnd::Exited { status: 0 }, "written\nbelow"), "mounted anew");
        guard.finish().await;
    }
}

#[tokio::test]
async fn two_phases_never_have_one_upper_layer_at_a_time() {
    for seat in Seat::all() {
        let test = format!("twice-{}", seat.uid);
        seat.create(&seat.own().join("lower"));
        let view = seat.view(&["lower"]);
        let ((mut one, _fuse), (mut other, _other_fuse)) = (seat.guard(&test), seat.guard(&test));
        let (started, has_started) = tokio::sync::oneshot::channel();
        let mut started = Some(started);
        let stopper = one.stopper();
        let first = one.run(in_view(&test, &view, "echo started; sleep 1000"), |_| {
            started.take().unwrap().send(()).unwrap();
        });
        let second = async {
            has_started.await.unwrap();
            let ended = run(&mut other, in_view(&test, &view, "true")).await;
            stopper.stop();
            ended
        };
        let (first, (second, printed)) = tokio::join!(first, second);
        let error = format!("failed to mount the view: {} is mounted already", view.upper.display());
        assert_eq!((first.unwrap(), second), (PhaseEnd::Stopped, PhaseEnd::Unstartable { error }), "{printed}");
        assert_eq!(run(&mut other, in_view(&test, &view, "exit 4")).await.0, PhaseEnd::Exited { status: 4 });
        one.finish().await;
        other.finish().await;
    }
}

#[tokio::test]
async fn a_view_may_have_paths_of_any_kind_and_many_layers_and_names_what_is_wrong_with_it() {
    for seat in Seat::all() {
        let (own, test) = (seat.own().join("a, b:c\\d\"e"), format!("paths-{}", seat.uid));
        let layers: Vec<PathBuf> = (0..200).map(|n| own.join(format!("{}{n}", "long".repeat(20)))).collect();
        for (n, layer) in layers.iter().enumerate() {
            seat.write(&layer.join(format!("file-{n}")), "");
        }
        seat.create(&own.join("at"));
        let view = View { at: own.join("at"), lower: layers, upper: own.join("upper"), work: own.join("work") };
        let (mut guard, _fuse) = seat.guard(&test);
        let (end, printed) = run(&mut guard, in_view(&test, &view, "ls | wc -l; > written")).await;
        assert_eq!((end, printed.trim()), (PhaseEnd::Exited { status: 0 }, "200"));
        assert_eq!(names(&view.upper), ["written"]);
        let mut unstartable = async |view: View| match run(&mut guard, in_view(&test, &view, "true")).await.0 {
            PhaseEnd::Unstartable { error } => error,
            end => panic!("{end:?}"),
        };
        let many = View { lower: view.lower.iter().cycle().take(300).cloned().collect(), ..view.clone() };
        assert!(unstartable(many).await.contains("300 layers are too many"));
        let missing = View { lower: vec![own.join("missing")], ..view.clone() };
        assert!(unstartable(missing).await.contains("missing: No such file or directory"));
        let nowhere = View { at: own.join("nowhere"), ..view.clone() };
        assert!(unstartable(nowhere).await.contains("nowhere: No such file or directory"));
        std::os::unix::fs::symlink("/", own.join("link")).unwrap();
        let linked = View { upper: own.join("link"), ..view.clone() };
        assert!(unstartable(linked).await.contains("link: Not a directory"));
        guard.finish().await;
    }
}

#[tokio::test]
async fn without_namespaces_a_phase_runs_without_a_view_and_none_with_one() {
    let seat = Seat::without_namespaces();
    seat.create(&seat.own().join("lower"));
    let view = seat.view(&["lower"]);
    let (mut guard, _fuse) = seat.guard("none");
    let (end, _) = run(&mut guard, in_view("none", &view, "true")).await;
    assert!(matches!(&end, PhaseEnd::Unstartable { error } if error.contains("allows no namespaces")), "{end:?}");
    let (end, printed) = run(&mut guard, phase("none", "id -u; exit 5")).await;
    assert_eq!((end, printed.trim()), (PhaseEnd::Exited { status: 5 }, seat.uid.to_string().as_str()));
    guard.finish().await;
}

#[tokio::test]
async fn where_a_namespace_is_opened_and_of_no_use_a_phase_runs_without_it() {
    let Some(seat) = Seat::ordinary().filter(|_| geteuid().is_root()) else { return };
    seat.close_program();
    seat.create(&seat.own().join("lower"));
    let view = seat.view(&["lower"]);
    let (mut guard, _fuse) = seat.guard("half");
    let given = PhaseRun { input: Some(Input("given".into())), ..phase("half", "head -c 5; id -u") };
    for _ in 0..2 {
        let (end, printed) = run(&mut guard, given.clone()).await;
        assert_eq!((end, printed), (PhaseEnd::Exited { status: 0 }, format!("given{}\n", seat.uid)));
    }
    let (end, _) = run(&mut guard, in_view("half", &view, "true")).await;
    assert!(matches!(&end, PhaseEnd::Unstartable { error } if error.contains("allows no namespaces")), "{end:?}");
    guard.finish().await;
}

#[test]
fn a_probe_says_whether_builds_can_have_views_and_leaves_nothing() {
    let probed = |seat: &Seat| {
        seat.create(&seat.own().join("cache"));
        let printed = seat.test("view::the_probe_of_a_seat");
        assert_eq!(names(&seat.own()), ["cache"], "{printed}");
        printed
    };
    for seat in Seat::all() {
        let printed = probed(&seat);
        assert!(printed.contains("support: Overlay"), "{printed}");
    }
    let printed = probed(&Seat::without_namespaces());
    assert!(printed.contains("support: Copy { why: \"this machine allows no namespaces: No space left"), "{printed}");
    if let Some(seat) = Seat::ordinary().filter(|_| geteuid().is_root()) {
        seat.close_program();
        let printed = probed(&seat);
        assert!(printed.contains("why: \"this machine allows no namespaces: failed to write /proc/self/"), "{printed}");
    }
}

/// Run by [`a_probe_says_whether_builds_can_have_views_and_leaves_nothing`], as another user.
#[tokio::test]
async fn the_probe_of_a_seat() {
    let Some(folder) = std::env::var_os(SEAT).map(PathBuf::from) else { return };
    let own = folder.join("own");
    println!("support: {:?}", probe(&folder.join("own-program"), &own, &own.join("cache")).await);
}

#[tokio::test]
async fn a_worker_says_at_its_start_whether_builds_can_have_views() {
    let foreman = Foreman::new(Duration::from_secs(60)).await;
    let worker = foreman.worker("one", &[("NPM_REGISTRY", "http://127.0.0.1:9"), ("LOG_FORMAT", "json")]);
    let can = Seat::all().iter().any(|seat| seat.uid == geteuid().as_raw());
    until("what came of it", || async { worker.printed().contains("\"overlay\":").then_some(()) }).await;
    let printed = worker.printed();
    assert!(printed.contains(&format!("\"overlay\":{can}")) && printed.contains("\"millis\":"), "{printed}");
    assert_eq!(printed.contains("\"reason\":"), !can, "{printed}");
}
