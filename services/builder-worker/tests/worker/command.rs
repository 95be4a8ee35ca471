//! What a command below a guard is given before it starts: its input, and time on the fuse.

use packline_builder_worker::guard::{Input, PhaseEnd, PhaseRun, boottime_millis};

use crate::guard::{guard, phase, run};

#[tokio::test]
async fn a_command_that_needs_time_on_the_fuse_is_not_started_without_it() {
    let (mut guard, fuse) = guard("spare");
    let needs = |spare_millis| PhaseRun { spare_millis, ..phase("spare", "true") };
    fuse.send_replace(boottime_millis() + 60_000);
    assert_eq!(run(&mut guard, needs(10_000)).await.0, PhaseEnd::Exited { status: 0 });
    assert_eq!(run(&mut guard, needs(60_001)).await.0, PhaseEnd::FuseBlown);
    guard.finish().await;
}

#[tokio::test]
async fn a_command_reads_its_input_and_any_other_reads_nothing() {
    let (mut guard, _fuse) = guard("input");
    // More than a socket takes at once.
    let much = "0123456789abcde\n".repeat(1 << 16);
    let input = Some(Input(much.clone()));
    let script = format!("head -c {} | sha256sum", much.len());
    let (end, printed) = run(&mut guard, PhaseRun { input, ..phase("input", &script) }).await;
    assert_eq!(end, PhaseEnd::Exited { status: 0 });
    let (_, expected) = run(&mut guard, phase("input", "yes 0123456789abcde | head -c 1048576 | sha256sum")).await;
    assert_eq!(printed, expected);
    assert_eq!(run(&mut guard, phase("input", "wc -c")).await.1, "0\n");
    let unread = PhaseRun { input: Some(Input(much)), ..phase("input", "true") };
    assert_eq!(run(&mut guard, unread).await.0, PhaseEnd::Exited { status: 0 }, "what nobody reads is lost");
    guard.finish().await;
}
