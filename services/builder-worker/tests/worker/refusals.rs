//! What the answers of a registry mean for a build.

use std::time::Duration;

use packline_domain::{BuildResult, Outcome};
use packline_testkit::{
    port::free_port,
    stand_in::{Answer, Behaviour, StandIn},
};
use serde_json::json;

use crate::publisher::{Publisher, TOKEN, asked};

use Behaviour::{Close, CloseBeforeBody, Paced, ShowLate, StoreThenAnswer, StoreThenClose, Twice};

const OTP: &str = "You must provide a one-time pass. Upgrade your client to npm@latest in order to use 2FA.";
const PREVIOUSLY: &str = "You cannot publish over the previously published versions: 1.0.0.";

/// How a build ends.
#[derive(Clone, Copy)]
enum End {
    Published,
    Permanent,
    Infrastructure,
}

use End::{Infrastructure, Permanent, Published};

/// One answer of a registry to a put, and what comes of it.
struct Case {
    name: &'static str,
    put: Behaviour,
    end: End,
    /// What the error has to say.
    says: &'static str,
    /// How many requests to publish the registry sees.
    puts: usize,
}

fn case(name: &'static str, put: Behaviour, end: End, says: &'static str, puts: usize) -> Case {
    Case { name, put, end, says, puts }
}

fn error(status: u16, error: &str) -> Behaviour {
    Behaviour::Answer(Answer::error(status, error))
}

fn bare(status: u16) -> Behaviour {
    Behaviour::Answer(Answer::new(status))
}

fn with(status: u16, header: &str, value: &str) -> Behaviour {
    Behaviour::Answer(Answer::new(status).header(header, value))
}

fn check(name: &str, result: &BuildResult, end: End, says: &str) {
    let phase = result.failed_phase.as_deref();
    let ended = (result.outcome, result.retry, phase);
    let expected = match end {
        Published => (Outcome::Published, true, None),
        Permanent => (Outcome::Failed, false, Some("publish")),
        Infrastructure => (Outcome::Infrastructure, true, Some("publish")),
    };
    assert_eq!(ended, expected, "{name}: {result:?}");
    let error = result.error.as_deref().unwrap_or_default();
    assert!(error.contains(says), "{name}: {error}");
    assert_eq!(error.lines().count(), usize::from(!error.is_empty()), "{name}: {error}");
}

/// No three failures of the infrastructure stand one after the other: the worker would rest.
async fn run(cases: Vec<Case>) {
    let mut publisher = Publisher::start("", &[]).await;
    for Case { name, put, end, says, puts } in cases {
        publisher.registry.next_put(put);
        let result = publisher.publish(name, None).await;
        check(name, &result, end, says);
        let all = publisher.registry.puts(name);
        assert_eq!(all.len(), puts, "{name}: {all:?}");
        publisher.assert_secret(&result, &[TOKEN]).await;
    }
}

#[tokio::test]
async fn a_registry_that_says_no_ends_the_build_with_what_is_missing() {
    run(vec![
        case(
            "token",
            error(401, &format!("bad token {TOKEN}")),
            Permanent,
            "token that is set for it (401: bad tok",
            1,
        ),
        case("internal", bare(500), Infrastructure, "failed with status 500", 1),
        case("otp", with(401, "www-authenticate", "OTP"), Permanent, "wants a second factor to publish otp@1.0.0", 1),
        case("otp-text", error(401, OTP), Permanent, "use a token that can publish without one", 1),
        case("gateway", bare(502), Infrastructure, "failed with status 502", 1),
        case("factor", error(403, "Two-factor authentication is required"), Permanent, "second factor", 1),
        case("busy", with(429, "retry-after", "3600"), Infrastructure, "retry after 3600 s", 1),
        case("forbidden", error(403, "no"), Permanent, "does not let this token publish forbidden@1.0.0 (403: no)", 1),
        case("conflict", bare(409), Infrastructure, "conflicts with what it has (409)", 1),
        case("taken", error(403, PREVIOUSLY), Permanent, "it was unpublished: raise the version", 1),
        case("unavailable", error(503, "down"), Infrastructure, "failed with status 503 (503: down)", 1),
    ])
    .await;
}

#[tokio::test]
async fn what_the_registry_has_stored_is_published_whatever_it_answered() {
    let slow = Paced { bytes: 200, pause: Duration::from_millis(5) };
    run(vec![
        case("bad-gateway", StoreThenAnswer(Answer::new(502)), Published, "", 1),
        case("closed", Close, Infrastructure, "did not answer the request", 1),
        case("stored-closed", StoreThenClose, Published, "", 1),
        case("closed-early", CloseBeforeBody, Infrastructure, "", 1),
        case("twice", Twice, Published, "", 2),
        case("address", bare(404), Infrastructure, "there is no registry at this address, or the token may not", 1),
        case("late", ShowLate(1), Published, "", 1),
        case("large", bare(413), Infrastructure, "bytes is too large (413)", 1),
        case("slow", slow, Published, "", 1),
    ])
    .await;
}

#[tokio::test]
async fn a_version_that_appears_between_the_look_and_the_put_is_success_only_where_it_is_ours() {
    let mut publisher = Publisher::start("", &[]).await;
    let first = publisher.publish("core", None).await;
    check("first", &first, Published, "");
    let not_there = || Behaviour::Answer(Answer::error(404, "not found"));
    // The store itself answers 409.
    publisher.registry.next_get(not_there());
    check("same, 409", &publisher.publish("core", None).await, Published, "");
    publisher.registry.next_get(not_there());
    publisher.registry.next_put(error(403, PREVIOUSLY));
    check("same, 403", &publisher.publish("core", None).await, Published, "");

    let notes = publisher.foreman.folder().join("notes").display().to_string();
    let scripts = json!({"scripts": {"postpublish": format!("echo ran >> {notes}")}});
    publisher.package("core", "1.0.0", scripts, "2");
    for answer in [None, Some(error(403, PREVIOUSLY))] {
        publisher.registry.next_get(not_there());
        answer.into_iter().for_each(|answer| publisher.registry.next_put(answer));
        let foreign = publisher.build("core", |_| ()).await;
        check("foreign", &foreign, Permanent, "version 1.0.0 is at the registry already, with other contents");
    }
    publisher.registry.next_get(not_there());
    let integrities: Vec<_> = first.integrity.iter().cloned().collect();
    let earlier = publisher.build("core", |order| order.integrities = integrities).await;
    check("earlier", &earlier, Published, "");
    assert_eq!(earlier.integrity, first.integrity);
    assert!(!std::path::Path::new(&notes).exists(), "this build has published nothing");
}

#[tokio::test]
async fn a_registry_that_wants_a_token_and_one_that_is_not_there_are_named() {
    let mut publisher = Publisher::start("", &[]).await;
    let other = StandIn::start().await;
    for status in [401, 403] {
        other.next_put(error(status, "who are you?"));
        let result = publisher.publish("core", Some(&other.url())).await;
        let says = format!("{} wants a token for core@1.0.0, and none is set for this registry", other.url());
        check("no token", &result, Permanent, &says);
    }
    let dead = format!("http://127.0.0.1:{}", free_port().unwrap());
    let result = publisher.publish("core", Some(&dead)).await;
    check("dead", &result, Infrastructure, &format!("{dead} cannot be reached"));
    assert!(publisher.registry.requests().is_empty());
}

#[tokio::test]
async fn a_registry_that_gives_no_answer_in_the_time_of_the_phase_is_looked_at_once_more() {
    let mut publisher = Publisher::start("", &[]).await;
    let other = StandIn::start().await;
    let (answer, body) = (publisher.registry.hold_put_answer(), other.hold_put_after(10));
    for (permit, name, registry) in [(0, "stored", &publisher.registry), (1, "held", &other)] {
        publisher.package(name, "1.0.0", json!({}), "1");
        let mut order = publisher.foreman.grant(permit, name).await;
        order.category = "hasty".into();
        order.config.registry = Some(registry.url());
        publisher.foreman.send(&order).await;
    }
    for _ in 0..2 {
        let result = publisher.foreman.result().await;
        match result.package_name.as_str() {
            "stored" => check("stored", &result, Published, ""),
            _ => check("held", &result, Infrastructure, "did not answer the request for held@1.0.0 within the timeout"),
        }
    }
    drop((answer, body));
    assert_eq!((publisher.registry.puts("stored").len(), other.puts("held").len()), (1, 1));
}

#[tokio::test]
async fn a_publish_takes_one_request_to_look_one_to_put_and_one_to_believe_it() {
    let mut publisher = Publisher::start("", &[]).await;
    check("first", &publisher.publish("@acme/core", None).await, Published, "");
    let path = "/@acme%2fcore";
    let first = [("GET", path), ("PUT", path), ("GET", path)];
    assert_eq!(asked(&publisher.registry.requests()), first);
    check("again", &publisher.publish("@acme/core", None).await, Published, "");
    assert_eq!(asked(&publisher.registry.requests())[3..], [("GET", path)]);
}

#[tokio::test]
async fn a_busy_registry_is_left_alone_as_long_as_it_says() {
    let mut publisher = Publisher::start("", &[]).await;
    publisher.registry.next_get(with(429, "retry-after", "1"));
    publisher.registry.next_put(with(429, "retry-after", "0"));
    check("core", &publisher.publish("core", None).await, Published, "");
    let puts = publisher.registry.puts("core");
    let [first, second] = puts.as_slice() else { panic!("{puts:?}") };
    let between = second.read_at.unwrap() - first.read_at.unwrap();
    assert!(between >= Duration::from_secs(1), "{between:?}");
    let asked = publisher.registry.requests();
    let methods: Vec<_> = asked.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["GET", "GET", "PUT", "PUT", "GET"]);
}
