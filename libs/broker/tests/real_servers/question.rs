use std::time::Duration;

use crate::{Place, within};

#[tokio::test]
async fn questions_are_answered_by_name() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("leader").await;
        let mut questions = broker.serve("orchestrator", "0.1.0", &["state", "why"], "o1").await.unwrap();
        let operator = async_nats::connect(place.server.url()).await.unwrap();
        let answering = async {
            for _ in 0..2 {
                let question = questions.next().await;
                let answer = format!("{} of {}", question.endpoint, String::from_utf8_lossy(&question.payload));
                question.respond(answer).await;
            }
            questions.next().await.refuse(400, "no such package").await;
        };
        let asking = async {
            let ask = |subject: &'static str| operator.request(subject, "acme/core".into());
            assert_eq!(ask("orchestrator.state").await.unwrap().payload, "state of acme/core");
            assert_eq!(ask("orchestrator.why").await.unwrap().payload, "why of acme/core");
            let refused = ask("orchestrator.why").await.unwrap().headers.unwrap();
            assert_eq!(refused.get("Nats-Service-Error").unwrap().as_str(), "no such package");
            let info = operator.request("$SRV.INFO.orchestrator", "".into()).await.unwrap();
            assert!(String::from_utf8_lossy(&info.payload).contains("orchestrator.state"));
        };
        tokio::join!(answering, asking);
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_stops_is_not_asked_any_more() {
    within(async {
        let place = Place::new().await;
        let (a, b) = (place.broker("a").await, place.broker("b").await);
        let operator = async_nats::connect(place.server.url()).await.unwrap();
        let frozen = a.serve("orchestrator", "0.1.0", &["state"], "o1").await.unwrap();
        let mut leading = b.serve("orchestrator", "0.1.0", &["state"], "o2").await.unwrap();
        for _ in 0..20 {
            let (_, answer) = tokio::join!(
                async { leading.next().await.respond("here").await },
                operator.request("orchestrator.state", "".into())
            );
            assert_eq!(answer.unwrap().payload, "here", "the frozen one takes no question away");
        }
        drop((frozen, leading));
        loop {
            let asked = operator.request("orchestrator.state", "".into());
            match tokio::time::timeout(Duration::from_millis(500), asked).await {
                Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => break,
                // It was asked just before the broker knew that nobody listens.
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
}
