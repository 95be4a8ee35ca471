//! All parts of the line of one workspace, as child processes.

use std::{env, process::ExitStatus, time::Duration};

use anyhow::{Context, bail};
use futures::future::{join_all, select_all};
use packline_broker::{Broker, Message, topology};
use packline_domain::{Command as Control, answer::State, control::Origin, text::counted};
use packline_local::{
    catalogue::Catalogue,
    line::{Binaries, Line, Progress},
    nats::{NatsOptions, NatsServer},
    process::Process,
    registry::{Address, Beyond, HeldVersions, Registry, RegistryOptions, Told, Uplinks},
    tools,
};
use tempfile::TempDir;

use super::{
    Settings,
    site::{Ports, Site},
};
use crate::{npmrc, view::observer::Observer};

/// Builds at a time where nobody has said; the orchestrator's own default.
const MAX_CONCURRENT: u32 = 4;
/// The only orchestrator.
const ORCHESTRATOR: &str = "orchestrator";
/// How long a worker may take to hand back what it runs.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// How long one program may take to stop before it is killed; longer than `GRACE`.
const STOP: Duration = Duration::from_secs(15);
/// How long a control command may take to show.
const IN_FORCE: Duration = Duration::from_secs(30);

/// What the person's environment may set of the programs, beyond what is set here.
const PASSED_ON: [&str; 12] = [
    "MAX_ATTEMPTS",
    "MAX_LOST",
    "MAX_INFRASTRUCTURE",
    "RETRY_BASE",
    "RETRY_MAX",
    "BUILD_DEADLINE",
    "LEASE",
    "CLAIM",
    "RUST_LOG",
    "LOG_FORMAT",
    "TZ",
    "RUSTUP_HOME",
];

/// Authorities that signed the certificates of proxies and registries.
const CERTIFICATES: [&str; 3] = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// What stands between this machine and the outside.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

/// The parts. On drop all of them are killed; what they keep stays.
pub(super) struct Plant {
    workers: Vec<Process>,
    others: Vec<Process>,
    registry: Registry,
    nats: NatsServer,
    pub(super) broker: Broker,
    uplinks: Uplinks,
    slots: u32,
    /// Not in the workspace: node looks for modules in the folders above, and would find the siblings'.
    _scratch: TempDir,
}

impl Plant {
    /// Starts all parts over what an earlier start has kept.
    ///
    /// # Errors
    /// When something is missing ([`tools::Missing`]) or does not start.
    pub(super) async fn start(site: &Site, settings: &Settings, held: &HeldVersions) -> anyhow::Result<Self> {
        tools::node().await?;
        let uplinks = npmrc::uplinks(&site.workspace).await?;
        let binaries = Binaries::find(Progress::Shown).await?;
        let wanted = site.ports().await;
        let mut options = NatsOptions::durable(tools::nats_server().await?);
        options.dir = Some(site.home.join("broker"));
        options.port = wanted.broker;
        let kept = RegistryOptions {
            folder: site.home.join("registry"),
            keep: true,
            address: Address::Local(wanted.registry),
            beyond: Some(Beyond { uplinks: uplinks.clone(), held: held.clone() }),
            told: Told::All,
            script: None,
        };
        let (nats, registry) = tokio::join!(NatsServer::start(options), Registry::open(&kept));
        let (nats, registry) = (nats?, registry?);
        site.keep_ports(Ports { broker: Some(nats.port()), registry: Some(registry.port()) })?;
        for line in registry.damaged() {
            crate::say(line)?;
        }
        let scratch = tempfile::Builder::new().prefix("packline-up-").tempdir().context("failed to make a folder")?;
        let line = line(site, settings, &binaries, &nats, &registry)?;
        let mut others = vec![line.orchestrator(ORCHESTRATOR, &[])?];
        let broker = Broker::connect(&packline_broker::Settings::at(nats.url()), "packline up").await?;
        broker.await_topology().await?;
        // Before anything is built.
        super::hold_queued(held, &Observer::new(&broker).final_board().await?);
        let slots = limit(&broker, settings.max_concurrent, &others).await?.div_ceil(settings.workers);
        let of_workers = npmrc::variables(&uplinks)
            .iter()
            .fold(line.clone(), |line, (name, value)| line.with(name, value))
            // What is published stays on this machine.
            .with("PUBLISH_CONFIG", "ignore")
            .with("SLOTS", &slots.to_string());
        let mut workers = Vec::new();
        for number in 1..=settings.workers {
            let own = scratch.path().join(format!("worker-{number}"));
            std::fs::create_dir_all(&own).with_context(|| format!("failed to make {}", own.display()))?;
            let own = own.to_string_lossy();
            workers.push(of_workers.worker(&format!("worker-{number}"), &[("SCRATCH", &own)])?);
        }
        others.push(line.poller("poller", &[])?);
        Ok(Self { workers, others, registry, nats, broker, uplinks, slots, _scratch: scratch })
    }

    /// What is where, for a person.
    pub(super) fn summary(&self, site: &Site, packages: usize) -> String {
        let (broker, registry) = (self.nats.url(), self.registry.url());
        format!(
            "The line is up on {} with {}: {} for {} each.
  broker    {broker}  (for the nats tool: export NATS_URL={broker})
  registry  {registry}  (all is published here, and nowhere else; what this workspace does not hold comes from {})
  logs      {}
  kept in   {}
",
            site.workspace.display(),
            counted(packages, "package"),
            counted(self.workers.len(), "worker"),
            counted(self.slots as usize, "build"),
            self.uplinks,
            site.logs().display(),
            site.home.display(),
        )
    }

    /// Where the broker is.
    pub(super) fn broker_url(&self) -> String {
        self.nats.url()
    }

    /// The first of all processes that ends.
    pub(super) async fn first_end(&self) -> (&Process, ExitStatus) {
        let servers = self.registry.processes().chain([self.nats.process()]);
        let all = self.workers.iter().chain(&self.others).chain(servers);
        let ends = all.map(|process| Box::pin(async move { (process, process.exited().await) }));
        select_all(ends).await.0
    }

    /// Asks all parts to stop: first who builds, last who keeps.
    pub(super) async fn stop(self) {
        join_all(self.workers.iter().map(|process| process.stop(STOP))).await;
        join_all(self.others.iter().map(|process| process.stop(STOP))).await;
        join_all(self.registry.processes().map(|process| process.stop(STOP))).await;
        self.nats.stop().await;
    }
}

/// Whether a process that ended did so because the line was drained: an orchestrator that nobody asked to
/// stop ends well for no other reason.
pub(super) fn is_drained(process: &Process, status: ExitStatus) -> bool {
    process.name() == ORCHESTRATOR && status.success()
}

fn line(
    site: &Site,
    settings: &Settings,
    binaries: &Binaries,
    nats: &NatsServer,
    registry: &Registry,
) -> anyhow::Result<Line> {
    let catalogue = Catalogue::empty(binaries, &site.database());
    let mut line = Line::new(binaries, &site.logs(), &nats.url())
        .with("MCP_COMMAND", &catalogue.command())
        .with("POLL_INTERVAL", &format!("{}s", super::LOOK_EVERY.as_secs()))
        .with("NPM_REGISTRY", &registry.url())
        .with("WORKSPACE_ROOT", &site.workspace.to_string_lossy())
        .with("GRACE", &format!("{}s", GRACE.as_secs()));
    for name in PASSED_ON {
        if let Ok(value) = env::var(name) {
            line = line.with(name, &value);
        }
    }
    for (name, value) in network(|name| env::var(name).ok()) {
        line = line.with(name, &value);
    }
    if let Some(recipe) = settings.recipe()? {
        line = line.with("RECIPE", &recipe);
    }
    Ok(line.with("MAX_CONCURRENT", &settings.max_concurrent.unwrap_or(MAX_CONCURRENT).to_string()))
}

/// How the person's machine reaches the outside, which is not how it reaches itself.
fn network(own: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let mut variables: Vec<_> = CERTIFICATES.iter().filter_map(|name| Some((*name, own(name)?))).collect();
    let proxies: Vec<_> = PROXIES.iter().filter_map(|name| Some((*name, own(name)?))).collect();
    if !proxies.is_empty() {
        // Some programs look at the one, some at the other, and none at both.
        for (name, other) in [("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")] {
            let set = own(name).or_else(|| own(other)).filter(|value| !value.trim().is_empty());
            variables.push((name, format!("{}127.0.0.1,localhost", set.map(|set| set + ",").unwrap_or_default())));
        }
        variables.extend(proxies);
    }
    variables
}

/// The limit in force, which is `wanted` where something is wanted: after the first start only a command
/// changes it.
async fn limit(broker: &Broker, wanted: Option<u32>, orchestrator: &[Process]) -> anyhow::Result<u32> {
    let mut asked = false;
    let settle = async {
        loop {
            if let Some(dead) = orchestrator.iter().find(|process| !process.is_running()) {
                bail!("{} ended at once; its last words:\n{}", dead.name(), dead.last_lines(5));
            }
            if let Ok(answer) = broker.ask(topology::STATE, "").await {
                let state: State = serde_json::from_slice(&answer).context("orchestrator.state answers strangely")?;
                match wanted {
                    Some(wanted) if wanted != state.max_concurrent => {
                        if !asked {
                            let command = Control::AdjustConcurrency { max_concurrent: wanted };
                            let origin = Origin { by: Some("packline up".into()), reason: None };
                            let subject = topology::control(command.name());
                            broker.publish(Message::json(subject, &command.body(&origin))).await?;
                            asked = true;
                        }
                    }
                    _ => return Ok(state.max_concurrent),
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(IN_FORCE, settle).await.context("the orchestrator does not answer")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_and_authorities_are_passed_on_and_this_machine_needs_no_proxy() {
        let of = |own: &[(&str, &str)]| {
            let own: Vec<(String, String)> =
                own.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            network(move |name| own.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()))
        };
        let shown = |variables: Vec<(&str, String)>| {
            variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(of(&[("no_proxy", "corp")])), "");
        assert_eq!(shown(of(&[("SSL_CERT_FILE", "/ca.pem")])), "SSL_CERT_FILE=/ca.pem");
        assert_eq!(
            shown(of(&[("HTTPS_PROXY", "http://proxy:3128")])),
            "NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost HTTPS_PROXY=http://proxy:3128"
        );
        assert_eq!(
            shown(of(&[("https_proxy", "http://proxy:3128"), ("no_proxy", "corp")])),
            "NO_PROXY=corp,127.0.0.1,localhost no_proxy=corp,127.0.0.1,localhost https_proxy=http://proxy:3128"
        );
    }
}
