use std::{collections::BTreeSet, time::Duration};

use packline_broker::{Message, StreamName, topology};
use packline_domain::{Outcome, record::Key};
use packline_testkit::proxy::Proxy;

use crate::foreman::{Foreman, until};

const CLAIM: Duration = Duration::from_secs(6);
const NO_PHASES: [(&str, &str); 2] = [("RECIPE", "none"), ("SLOTS", "4")];

#[tokio::test]
async fn an_order_is_claimed_built_answered_and_forgotten() {
    let mut foreman = Foreman::new(CLAIM).await;
    let worker = foreman.worker("one", &NO_PHASES);
    let order = foreman.order(0, "@acme/core").await;
    let result = foreman.result().await;
    assert_eq!((result.outcome, result.success, &result.build_id), (Outcome::Published, true, &order.build_id));
    let permit = foreman.permit(0).await.unwrap();
    assert_eq!(permit.worker.as_deref(), Some(result.worker.as_str()));
    let entry = foreman.orchestrator.get("permits.0").await.unwrap().unwrap();
    assert_eq!(entry.revision, result.permit_revision);
    until("the order acknowledged", || async {
        let state = foreman.broker.pending(StreamName::Builds, "builders").await.unwrap();
        (state.pending + state.ack_pending == 0).then_some(())
    })
    .await;
    let again = foreman.result().await;
    assert_eq!(again, result, "said again while the permit stands");
    foreman.orchestrator.delete("permits.0").await.unwrap();
    until("the build forgotten", || async {
        foreman.workers().await.get(&result.worker)?.builds.is_empty().then_some(())
    })
    .await;
    assert!(worker.stop(Duration::from_secs(20)).await.success());
    assert!(foreman.workers().await.is_empty(), "who leaves deletes its key");
}

#[tokio::test]
async fn of_many_copies_of_an_order_one_is_built() {
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    let _workers: Vec<_> = ["a", "b"].map(|name| foreman.worker(name, &NO_PHASES)).into();
    let order = foreman.grant(0, "@acme/core").await;
    for _ in 0..50 {
        foreman.send(&order).await;
    }
    until("all copies acknowledged", || async {
        let state = foreman.broker.pending(StreamName::Builds, "builders").await.unwrap();
        (state.pending + state.ack_pending == 0).then_some(())
    })
    .await;
    let last = foreman.order(1, "@acme/last").await;
    assert_eq!(foreman.result().await.build_id, order.build_id);
    assert_eq!(foreman.result().await.build_id, last.build_id);
}

#[tokio::test]
async fn many_builds_pass_through_few_slots() {
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    let _worker = foreman.worker("one", &NO_PHASES);
    let (mut waiting, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..200 {
        waiting.insert(foreman.order(n, &format!("@acme/p{n}")).await.build_id);
    }
    while !waiting.is_empty() {
        let result = foreman.result().await;
        // It is said again with each heartbeat until the permit is gone.
        let is_first = waiting.remove(&result.build_id);
        assert!(is_first != ended.contains(&result.build_id), "nobody ordered {}", result.build_id);
        if !is_first {
            continue;
        }
        ended.insert(result.build_id);
        foreman.orchestrator.delete(&Key::Permit(result.permit).to_string()).await.unwrap();
    }
}

#[tokio::test]
async fn an_order_whose_permit_is_another_s_is_dropped() {
    let mut foreman = Foreman::new(CLAIM).await;
    let _worker = foreman.worker("one", &NO_PHASES);
    let old = foreman.grant(0, "@acme/core").await;
    let new = foreman.grant(0, "@acme/core").await;
    foreman.send(&old).await;
    foreman.send(&new).await;
    assert_eq!(foreman.result().await.build_id, new.build_id);
    until("both acknowledged", || async {
        let state = foreman.broker.pending(StreamName::Builds, "builders").await.unwrap();
        (state.pending + state.ack_pending == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_no_order_goes_to_the_operator() {
    let mut foreman = Foreman::new(CLAIM).await;
    let _worker = foreman.worker("one", &NO_PHASES);
    for rubbish in ["", "not JSON", "[]", r#"{"buildId": "../x.1"}"#] {
        foreman.broker.publish(Message::new(topology::builds_start(), rubbish)).await.unwrap();
    }
    let order = foreman.order(0, "@acme/core").await;
    assert_eq!(foreman.outcome(&order).await.outcome, Outcome::Published);
    until("four dead letters", || async {
        (foreman.broker.stream_state(StreamName::Dead).await.unwrap().messages == 4).then_some(())
    })
    .await;
    until("nothing left", || async {
        (foreman.broker.stream_state(StreamName::Builds).await.unwrap().messages == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_orders_that_come_together_one_that_was_withdrawn_holds_up_none() {
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    let mut orders = Vec::new();
    for n in 0..60 {
        orders.push(foreman.grant(n, &format!("@acme/p{n}")).await);
    }
    let withdrawn = orders.remove(31);
    foreman.orchestrator.delete("permits.31").await.unwrap();
    for order in orders.iter().chain([&withdrawn]) {
        foreman.send(order).await;
    }
    let _worker = foreman.worker("one", &[("RECIPE", "none"), ("SLOTS", "64")]);
    let mut built = BTreeSet::new();
    for _ in &orders {
        let result = foreman.result().await;
        let entry = foreman.orchestrator.get(&Key::Permit(result.permit).to_string()).await.unwrap().unwrap();
        assert_eq!(entry.revision, result.permit_revision, "its own claim");
        assert!(built.insert(result.build_id), "once");
    }
    assert!(!built.contains(&withdrawn.build_id));
    until("the withdrawn one acknowledged too", || async {
        let state = foreman.broker.pending(StreamName::Builds, "builders").await.unwrap();
        (state.pending + state.ack_pending == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_and_that_is_withdrawn_meanwhile_starts_no_process() {
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    foreman.crate_of("first", &[("file", "")]);
    foreman.crate_of("core", &[("file", "")]);
    let begun = foreman.folder().join("begun");
    let run = format!("test $PACKAGE_NAME = @acme/first || (touch {} && sleep 1000)", begun.display());
    let recipe = foreman.recipe(&format!("[[phase]]\nname = \"build\"\nrun = [\"sh\", \"-c\", \"{run}\"]\n"));
    let proxy = Proxy::start(foreman.server.port()).await.unwrap();
    let _worker = foreman.worker("one", &[("NATS_URL", &proxy.url()), ("RECIPE", &recipe)]);
    assert_eq!(foreman.build("@acme/first").await.outcome, Outcome::Published);
    // The answer to the claim is on its way for so long that it never comes; a pull takes no harm from that.
    proxy.delay(Duration::from_millis(600));
    let order = foreman.order(0, "@acme/core").await;
    until("the claim", || async { foreman.permit(0).await?.worker }).await;
    proxy.refuse();
    proxy.cut();
    foreman.withdraw(0).await;
    proxy.heal();
    let result = foreman.outcome(&order).await;
    assert_eq!((result.outcome, result.phases.len()), (Outcome::Cancelled, 0));
    assert!(!begun.exists());
}
