//! The control commands.

use clap::{Args, Subcommand};
use nix::unistd::{User, geteuid};
use packline_domain::{Command, PackageName, control::Origin};

use super::{
    ask::package,
    command::{self, Effect},
    connection::Connection,
    wait,
};

/// A command to the line.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Control {
    /// Start nothing new; what is built goes on
    Pause(Common),
    /// Go on after pause, drain or stop
    Resume(Common),
    /// Start nothing new, finish what is built, then let every orchestrator exit; waits for it
    Drain(Common),
    /// Emergency stop: kill every build at once and queue it again, start nothing until resume
    #[command(visible_alias = "emergency-stop")]
    Stop(Common),
    /// Change the limit of concurrent builds
    #[command(after_help = "Example: packline concurrency 8 --reason 'two more machines'")]
    Concurrency {
        /// 1 to 10000; a lower limit lets running builds finish
        #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Drop a package from the queue, or kill its build
    #[command(after_help = "Example: packline cancel acme/core --reason 'wrong version'")]
    Cancel {
        /// acme/core or @acme/core
        #[arg(value_parser = package)]
        package: PackageName,
        #[command(flatten)]
        common: Common,
    },
    /// Queue a failed or cancelled package with a fresh set of attempts
    #[command(after_help = "Examples:\n  packline requeue acme/core\n  packline requeue --all-failed")]
    Requeue {
        /// acme/core or @acme/core
        #[arg(value_parser = package, required_unless_present = "all_failed", conflicts_with = "all_failed")]
        package: Option<PackageName>,
        /// All that have failed
        #[arg(long)]
        all_failed: bool,
        #[command(flatten)]
        common: Common,
    },
}

/// Who commands, why, and how long to wait
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Who commands; kept with the command [default: the user's name]
    #[arg(long)]
    by: Option<String>,
    /// Why; kept with the command, and shown to whoever asks
    #[arg(long, short = 'm')]
    reason: Option<String>,
    #[command(flatten)]
    pub(crate) wait: wait::Settings,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl Common {
    pub(crate) fn origin(&self) -> Origin {
        Origin { by: self.by.clone().or_else(user).filter(|by| !by.is_empty()), reason: self.reason.clone() }
    }
}

/// Whose process this is.
fn user() -> Option<String> {
    Some(User::from_uid(geteuid()).ok()??.name)
}

/// Gives it, and waits until it is applied.
pub(crate) async fn run(control: &Control) -> anyhow::Result<()> {
    let (command, common) = match control {
        Control::Pause(common) => (Command::Pause, common),
        Control::Resume(common) => (Command::Resume, common),
        Control::Drain(common) => (Command::Drain, common),
        Control::Stop(common) => (Command::EmergencyStop, common),
        Control::Concurrency { limit, common } => (Command::AdjustConcurrency { max_concurrent: *limit }, common),
        Control::Cancel { package, common } => (Command::Cancel { package_name: package.clone() }, common),
        Control::Requeue { package: Some(package), common, .. } => {
            (Command::Requeue { package_name: package.clone() }, common)
        }
        Control::Requeue { package: None, common, .. } => (Command::RequeueFailed, common),
    };
    let broker = common.connection.open().await?;
    let sent = command::send(&broker, &command, &common.origin()).await?;
    if common.wait.no_wait {
        return sent.told();
    }
    match common.wait.bounded(async |waiting| sent.applied(&broker, &command, waiting).await).await? {
        Effect::Done(told) => crate::say(&told),
        Effect::Nothing(why) => anyhow::bail!(why),
    }
}
