//! `packline bench` measures a real line, whatever its size, and prints what it has measured as JSON.
use packline_testkit::process::command;
use serde_json::Value;

fn bench(arguments: &[&str]) -> Value {
    let mut bench = command(env!("CARGO_BIN_EXE_packline"));
    let ended = bench.arg("bench").arg("--json").args(arguments).env_remove("RUST_LOG").output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

fn number(measured: &Value, pointer: &str) -> f64 {
    let found = measured.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{pointer} is no number in {measured:#}"))
}

#[test]
fn a_bench_of_a_short_line_counts_every_build_and_what_each_part_took() {
    let measured = bench(&["--only", "line", "--packages", "300", "--max-concurrent", "8"]);
    let seconds = number(&measured, "/line/seconds");
    assert!((number(&measured, "/line/buildsPerSecond") * seconds - 300.0).abs() < 1e-6);
    assert!((number(&measured, "/line/announcedToClaimed/count") - 300.0).abs() < f64::EPSILON);
    let p50 = number(&measured, "/line/announcedToClaimed/p50");
    let max = number(&measured, "/line/announcedToClaimed/max");
    assert!(p50 > 0.0 && p50 <= max && max <= seconds * 1000.0 + 1.0, "{measured:#}");
    // Each build is granted, ended and published: at least three records, in few commits.
    let records = number(&measured, "/line/recordsPerCommit") * number(&measured, "/line/commits");
    assert!(records >= 900.0, "{measured:#}");
    assert!(number(&measured, "/line/bytesOnDisk") > 300.0 * 100.0);
    let parts = measured.pointer("/line/parts").and_then(Value::as_array).unwrap();
    let names: Vec<_> = parts.iter().filter_map(|part| part.get("name")?.as_str()).collect();
    assert_eq!(names, ["nats-server", "orchestrator", "builder-worker-1", "builder-worker-2"]);
    for part in parts {
        assert!(number(part, "/rssBytes") > 1e6 && number(part, "/cpuSeconds") > 0.0, "{part:#}");
    }
    assert_eq!(measured.as_object().unwrap().len(), 2, "only the line was asked for: {measured:#}");
}

#[test]
fn a_bench_says_the_same_to_people() {
    let mut bench = command(env!("CARGO_BIN_EXE_packline"));
    bench.args(["bench", "--only", "line", "--packages", "50", "--max-concurrent", "2"]).env_remove("RUST_LOG");
    let ended = bench.output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let parts = [
        "50 packages",
        "every write synced",
        "builds/s",
        "announced to claimed: p50 ",
        "p99 ",
        "max ",
        "commits, ",
        "records each",
        "MB on disk",
        "nats-server",
        "orchestrator",
        "builder-worker-2",
        "MB RSS",
        "CPU s",
    ];
    for part in parts {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[test]
fn a_bench_shows_latency_rest_and_a_long_queue() {
    let small = ["--rounds", "5", "--idle", "1s", "--queued", "1000", "--only", "latency,idle,queue"];
    let measured = bench(&small);
    assert!((number(&measured, "/latency/announcedToClaimed/count") - 5.0).abs() < f64::EPSILON);
    assert!(number(&measured, "/latency/announcedToClaimed/p50") > 0.0);
    let parts = measured.pointer("/idle/parts").and_then(Value::as_array).unwrap();
    assert_eq!(parts.len(), 4, "{measured:#}");
    assert!(parts.iter().all(|part| number(part, "/rssBytes") > 1e6), "{measured:#}");
    assert!(number(&measured, "/queue/rssQueuedBytes") > number(&measured, "/queue/rssBeforeBytes"));
    assert!(number(&measured, "/queue/restartSeconds") > 0.0);
}

#[test]
fn a_bench_shows_how_soon_commands_are_in_force_and_questions_answered() {
    let small = ["--rounds", "10", "--queued", "20000", "--max-concurrent", "8", "--only", "control,questions"];
    let measured = bench(&small);
    for when in ["idle", "busy"] {
        assert!((number(&measured, &format!("/control/{when}/inForce/count")) - 10.0).abs() < f64::EPSILON);
        assert!(number(&measured, &format!("/control/{when}/inForce/p50")) > 0.0);
        assert!(number(&measured, &format!("/control/{when}/pauseComplete/p50")) > 0.0);
        let answers = measured.pointer(&format!("/questions/{when}")).and_then(Value::as_array).unwrap();
        assert_eq!(answers.len(), 4, "{measured:#}");
        for answer in answers {
            assert!((number(answer, "/roundTrip/count") - 10.0).abs() < f64::EPSILON, "{answer:#}");
            assert!(number(answer, "/maxBytes") > 10.0 && number(answer, "/maxBytes") < 256.0 * 1024.0, "{answer:#}");
        }
    }
    assert!(number(&measured, "/control/buildsPerSecond") > 0.0);
}
