//! What the processes of a phase see in a view, what they leave, and what they cannot do.

use std::fs;

use packline_builder_worker::guard::{PhaseEnd, PhaseRun, View};

use crate::{
    guard::{phase, run},
    seat::Seat,
};

pub(crate) fn in_view(test: &str, view: &View, script: &str) -> PhaseRun {
    PhaseRun { cwd: view.at.clone(), view: Some(view.clone()), ..phase(test, script) }
}

fn names(folder: &std::path::Path) -> Vec<String> {
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
        let (end, _) = run(&mut guard, phase(&test, "exit 3")).await;
        assert_eq!(end, PhaseEnd::Exited { status: 3 }, "another phase does without");
        guard.finish().await;
    }
}
