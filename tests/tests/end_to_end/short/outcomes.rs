//! What people read of a private package and of warnings, from results that the test makes in a worker's place.
use packline_broker::{BucketName, Message, StreamName, topology};
use packline_domain::{
    BuildResult, Outcome, Timestamp,
    phase::Tests,
    record::{Permit, State},
};
use packline_tests::{Bare, Operator, PATIENCE};
use serde_json::{Value, json};

const WARNING: &str = "types: dist/index.d.ts is not in the tarball";

/// A worker of which nobody sees more than this record.
async fn stand_in(line: &Bare) {
    let record = json!({"host": "host", "version": "0.1.0", "slots": 2, "claimMillis": 60_000,
        "since": Timestamp::from_millis(0), "builds": []});
    line.broker.bucket(BucketName::Workers).put("host-1", record.to_string().into()).await.unwrap();
}

/// The permit that a package gets.
async fn permit(line: &Bare, package: &str) -> (u32, Permit) {
    let queue = line.until_state(package, "building").await.unwrap();
    let State::Building { permit, .. } = queue.state else { unreachable!() };
    let record = line.until(&format!("permits.{permit}"), |record| record.is_some()).await.unwrap().unwrap();
    (permit, serde_json::from_value(record).unwrap())
}

/// Says how its build ended.
async fn end(line: &Bare, package: &str, outcome: Outcome, private: bool, warnings: &[&str]) {
    end_with(line, package, outcome, private, warnings, None).await;
}

async fn end_with(
    line: &Bare,
    package: &str,
    outcome: Outcome,
    private: bool,
    warnings: &[&str],
    tests: Option<Tests>,
) {
    let (number, permit) = permit(line, package).await;
    let result = BuildResult {
        schema: 1,
        build_id: permit.build_id,
        attempt: permit.attempt,
        permit: number,
        permit_revision: 1,
        package_name: permit.package_name,
        success: outcome == Outcome::Published,
        outcome,
        error: (outcome != Outcome::Published).then(|| "test: no".to_owned()),
        failed_phase: (outcome != Outcome::Published).then(|| "test".to_owned()),
        fix_attempts: None,
        retry: true,
        worker: "host-1".into(),
        started_at: permit.granted_at,
        finished_at: permit.granted_at,
        phases: Vec::new(),
        version: Some("1.0.0".into()),
        integrity: None,
        warnings: warnings.iter().map(|text| (*text).to_owned()).collect(),
        private,
        tests,
    };
    line.broker.publish(Message::json(topology::builds_result(), &result)).await.unwrap();
}

async fn shown(operator: &Operator, arguments: &[&str]) -> String {
    let said = operator.run(arguments).await.unwrap();
    format!("{}{}", said.stdout, said.stderr)
}

async fn answer(operator: &Operator, arguments: &[&str]) -> Value {
    operator.json(&[arguments, &["--json"]].concat()).await.unwrap()
}

/// What `@acme/own` is called, which is private, beside `@acme/open`, which is not.
async fn both_are_called_what_they_are(operator: &Operator) {
    let status = shown(operator, &["status"]).await;
    assert!(status.contains("done     1 published, 1 built (private), 0 failed, 0 cancelled"), "{status}");
    let counts = &answer(operator, &["status"]).await["counts"];
    assert_eq!((&counts["published"], &counts["private"]), (&json!(2), &json!(1)));

    for (package, word) in [("@acme/own", "built (private)"), ("@acme/open", "published")] {
        let private = word.starts_with("built").then_some(json!(true));
        let why = shown(operator, &["why", package]).await;
        assert!(why.starts_with(&format!("{package} is {word}")), "{why}");
        assert!(why.contains(&format!("\n  {word} as 1.0.0")), "{why}");
        let why = answer(operator, &["why", package]).await;
        assert_eq!((&why["state"], &why["reasons"][0]["kind"]), (&json!("published"), &json!("published")));
        assert_eq!(why["reasons"][0].get("private"), private.as_ref());

        let queue = shown(operator, &["queue", "--state", "published"]).await;
        let row = queue.lines().find(|row| row.starts_with(package)).unwrap();
        assert_eq!(row.matches(word).count(), 2, "as its state and as the reason: {queue}");
        let queue = answer(operator, &["queue", "--state", "published"]).await;
        let row = queue["packages"].as_array().unwrap().iter().find(|row| row["packageName"] == package).unwrap();
        assert_eq!((&row["state"], row.get("private")), (&json!("published"), private.as_ref()));

        let history = shown(operator, &["history", package]).await;
        assert!(history.lines().nth(1).unwrap().contains(word), "{history}");
        let attempt = &answer(operator, &["history", package]).await["attempts"][0];
        assert_eq!((attempt.get("class"), attempt.get("private")), (None, private.as_ref()));

        let events = shown(operator, &["events", "--kind", "published", "--package", package]).await;
        assert_eq!(events.matches(word).count(), 2, "as its kind and in its line: {events}");
        let event = answer(operator, &["events", "--kind", "published", "--package", package]).await;
        assert_eq!((&event["kind"], event.get("private")), (&json!("published"), private.as_ref()));
        let cancel = shown(operator, &["cancel", package]).await;
        assert!(cancel.contains(&format!("cancel changes nothing: {package} is {word}")), "{cancel}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_package_is_built_for_people_and_published_and_private_for_programs_also_after_a_restart() {
    let mut line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    stand_in(&line).await;
    line.announce(r#"[{"name": "@acme/own"}, {"name": "@acme/open"}]"#).await.unwrap();
    for (package, private) in [("@acme/own", true), ("@acme/open", false)] {
        end(&line, package, Outcome::Published, private, &[]).await;
        line.until_state(package, "published").await.unwrap();
    }
    line.until_known().await.unwrap();
    both_are_called_what_they_are(&operator).await;

    line.orchestrator.stop(PATIENCE).await;
    line.orchestrator = line.line().orchestrator("again", &[]).unwrap();
    line.until_known().await.unwrap();
    both_are_called_what_they_are(&operator).await;

    let statuses = line.messages(StreamName::Status).await.unwrap();
    let ends = statuses.iter().filter(|(_, status)| status["status"] == "published");
    let ends: Vec<_> = ends.map(|(_, status)| (&status["packageName"], status.get("private"))).collect();
    assert_eq!(ends, [(&json!("@acme/own"), Some(&json!(true))), (&json!("@acme/open"), None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stood_for_the_tests_of_a_package_is_shown_where_its_outcome_is_explained() {
    let line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    stand_in(&line).await;
    line.announce(r#"{"name": "@acme/core"}"#).await.unwrap();
    end_with(&line, "@acme/core", Outcome::Published, false, &[WARNING], Some(Tests::RootNotRun)).await;
    line.until_state("@acme/core", "published").await.unwrap();
    line.until_known().await.unwrap();
    let (word, wire) = ("tests only at the root, not run", json!("rootNotRun"));
    let why = shown(&operator, &["why", "@acme/core"]).await;
    assert!(why.ends_with(&format!("\n  published as 1.0.0\n  {word}\n  warning: {WARNING}\n")), "{why}");
    assert_eq!(answer(&operator, &["why", "@acme/core"]).await["tests"], wire);
    let history = shown(&operator, &["history", "@acme/core"]).await;
    let attempt = &answer(&operator, &["history", "@acme/core"]).await["attempts"][0];
    let build = attempt["buildId"].as_str().unwrap();
    assert!(history.ends_with(&format!("\n{build}: {word}\nwarning: {build}: {WARNING}\n")), "{history}");
    assert_eq!(attempt["tests"], wire);
    let statuses = line.messages(StreamName::Status).await.unwrap();
    assert_eq!(statuses.last().unwrap().1["tests"], wire);
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_shown_where_the_error_of_a_build_is_shown() {
    let line = Bare::start(&[("MAX_ATTEMPTS", "1")]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    stand_in(&line).await;
    line.announce(r#"[{"name": "@acme/bad"}, {"name": "@acme/good"}]"#).await.unwrap();
    for (package, outcome, state) in
        [("@acme/bad", Outcome::Failed, "failed"), ("@acme/good", Outcome::Published, "published")]
    {
        end(&line, package, outcome, false, &[WARNING, "a\u{1b}[2Jb"]).await;
        line.until_state(package, state).await.unwrap();
        line.until_known().await.unwrap();
        let why = shown(&operator, &["why", package]).await;
        assert!(why.ends_with(&format!("\n  warning: {WARNING}\n  warning: a [2Jb\n")), "{why}");
        assert_eq!(answer(&operator, &["why", package]).await["warnings"], json!([WARNING, "a [2Jb"]));
        let history = shown(&operator, &["history", package]).await;
        let attempt = &answer(&operator, &["history", package]).await["attempts"][0];
        let build = attempt["buildId"].as_str().unwrap();
        assert!(history.ends_with(&format!("\nwarning: {build}: {WARNING}\nwarning: {build}: a [2Jb\n")), "{history}");
        assert_eq!(attempt["warnings"], json!([WARNING, "a [2Jb"]));
    }
}
