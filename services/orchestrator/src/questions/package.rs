//! `orchestrator.why` and `orchestrator.history`: one package.

use packline_domain::{
    SCHEMA,
    answer::{History, Reason, Told, Why},
    control::typed_package,
    text::one_line,
};
use packline_scheduler::Scheduler;

use super::state::seconds;
use crate::liveness::Liveness;

pub(super) fn why(scheduler: &Scheduler, liveness: &Liveness, body: &[u8]) -> Result<Why, String> {
    let package_name = typed_package(body)?;
    let reasons = scheduler.why(&package_name).into_iter().map(|reason| {
        let reason = with_wait(reason, liveness);
        Told { text: reason.to_string(), reason }
    });
    Ok(Why {
        schema: SCHEMA,
        state: scheduler.standing(&package_name),
        reasons: reasons.collect(),
        warnings: scheduler.warnings(&package_name).to_vec(),
        tests: scheduler.tests(&package_name),
        estimated_seconds: scheduler.estimate(&package_name).map(seconds),
        package_name,
    })
}

/// Adds what a build waits for, as its worker last said.
fn with_wait(mut reason: Reason, liveness: &Liveness) -> Reason {
    if let Reason::Building(holder) = &mut reason
        && let Some(worker) = &holder.worker
        && let Some(build) = liveness.build(worker, holder.permit).filter(|build| build.build_id == holder.build_id)
    {
        holder.waiting_for = build.waiting_for.as_deref().map(one_line);
    }
    reason
}

pub(super) fn history(scheduler: &Scheduler, body: &[u8]) -> Result<History, String> {
    let package_name = typed_package(body)?;
    let attempts = scheduler.retries(&package_name).map(|retries| retries.attempts.clone()).unwrap_or_default();
    Ok(History { schema: SCHEMA, attempts, package_name })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use packline_domain::{
        Timestamp,
        answer::Holder,
        record::{PROTOCOL, Worker, WorkerBuild},
    };

    use super::*;

    #[test]
    fn why_says_what_a_build_waits_for_as_its_worker_last_said() {
        let mut liveness = Liveness::default();
        let mut revision = 0;
        let mut why = |build: &str, waiting_for: Option<&str>| {
            let build = WorkerBuild {
                build_id: build.parse().unwrap(),
                permit: 3,
                phase: Some("install".into()),
                waiting_for: waiting_for.map(Into::into),
            };
            let worker = Worker {
                schema: SCHEMA,
                host: "h".into(),
                version: "1".into(),
                protocol: PROTOCOL,
                slots: 2,
                claim_millis: 30_000,
                since: Timestamp::default(),
                resting: None,
                builds: vec![build],
            };
            revision += 1;
            liveness.seen(Duration::ZERO, "h-1", revision, Some(worker));
            let holder = Holder {
                package_name: "@acme/core".parse().unwrap(),
                build_id: "acme/core.17".parse().unwrap(),
                permit: 3,
                worker: Some("h-1".into()),
                waiting_for: None,
            };
            with_wait(Reason::Building(holder), &liveness).to_string()
        };
        let waits = "is built on h-1, and waits for another build, which makes the install of the workspace";
        assert_eq!(why("acme/core.17", Some("the install of the workspace")), waits);
        assert_eq!(why("acme/core.17", Some("the install of the workspace\n\u{1b}[2J")), waits);
        assert_eq!(why("acme/core.17", None), "is built on h-1");
        assert_eq!(why("acme/core.16", Some("what a build before it waited for")), "is built on h-1");
    }
}
