//! One connection of the stand-in.

use std::{io, sync::Arc, time::Instant};

use super::{
    Answer, Behaviour, Request, Shared,
    behaviour::{Gate, Plan},
    lock,
    store::Target,
    wire::{Connection, Head, Pace},
};

/// Answers requests until one side ends the connection.
pub(super) async fn serve(mut connection: Connection, shared: &Shared) {
    while let Ok(Some(head)) = connection.head().await {
        match request(&mut connection, shared, head).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// What is done once the body is there.
enum Then {
    Answer(Answer),
    Store,
    StoreLate(usize),
    StoreThenAnswer(Answer),
    StoreThenClose,
    StoreThenHold(Gate),
    Twice,
    Close,
}

fn planned(plan: Option<Plan>) -> Option<(Pace, Then)> {
    let behaviour = match plan {
        None => return Some((Pace::Free, Then::Store)),
        Some(Plan::HoldBody { after, gate }) => return Some((Pace::HoldAfter(after, gate), Then::Store)),
        Some(Plan::HoldAnswer(gate)) => return Some((Pace::Free, Then::StoreThenHold(gate))),
        Some(Plan::Behave(behaviour)) => behaviour,
    };
    let then = match behaviour {
        Behaviour::CloseBeforeBody => return None,
        Behaviour::Paced { bytes, pause } => return Some((Pace::Every(bytes, pause), Then::Store)),
        Behaviour::Answer(answer) => Then::Answer(answer),
        Behaviour::StoreThenAnswer(answer) => Then::StoreThenAnswer(answer),
        Behaviour::StoreThenClose => Then::StoreThenClose,
        Behaviour::Close => Then::Close,
        Behaviour::Accept => Then::Answer(Answer::new(201).json(&serde_json::json!({ "ok": true }))),
        Behaviour::Twice => Then::Twice,
        Behaviour::ShowLate(times) => Then::StoreLate(times),
    };
    Some((Pace::Free, then))
}

/// Treats one request; whether the connection stands.
async fn request(connection: &mut Connection, shared: &Shared, head: Head) -> io::Result<bool> {
    let target = Target::of(&head.target);
    let plan = match target {
        Target::Ping => None,
        _ => lock(&shared.script).next(&head.method),
    };
    let mut number = shared.note(Request {
        method: head.method.clone(),
        path: head.target.clone(),
        headers: head.headers.clone(),
        body: Arc::default(),
        read_at: None,
        answered: None,
    });
    let Some((mut pace, then)) = planned(plan) else { return Ok(false) };
    let mut body = Vec::new();
    let read = connection.body(&head, &mut pace, &mut body).await;
    let body = Arc::new(body);
    let is_read = read.is_ok().then(Instant::now);
    shared.change(number, |request| (request.body, request.read_at) = (Arc::clone(&body), is_read));
    read?;
    let process = || lock(&shared.store).process(&head.method, &target, &head, &body);
    let answer = match then {
        Then::Answer(answer) => answer,
        Then::Store => process(),
        Then::StoreLate(times) => lock(&shared.store).process_late(&target, &body, times),
        Then::StoreThenAnswer(answer) => {
            process();
            answer
        }
        Then::StoreThenHold(mut gate) => {
            let answer = process();
            gate.pass().await;
            answer
        }
        Then::StoreThenClose => {
            process();
            return Ok(false);
        }
        Then::Twice => {
            let lost = process();
            shared.change(number, |request| request.answered = Some(lost.status));
            let again = shared.requests.borrow().get(number).cloned();
            if let Some(again) = again {
                number = shared.note(Request { answered: None, ..again });
            }
            process()
        }
        Then::Close => return Ok(false),
    };
    shared.change(number, |request| request.answered = Some(answer.status));
    connection.answer(&head, &answer).await?;
    Ok(!head.closes())
}
