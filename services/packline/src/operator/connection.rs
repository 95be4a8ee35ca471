//! The connection of somebody who waits for it.

use std::time::Duration;

use packline_broker::{Broker, ConnectError};
use packline_service::Unusable;

/// How long a person waits for a broker.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which broker
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Connection {
    #[command(flatten)]
    nats: packline_broker::Settings,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(&self) -> anyhow::Result<Broker> {
        let settings = self.nats.clone().or_selected_context().map_err(told)?;
        Broker::connect_within(&settings, "packline", PATIENCE).await.map_err(told)
    }
}

fn told(error: ConnectError) -> anyhow::Error {
    match error {
        ConnectError::Settings(why) => Unusable(why).into(),
        ConnectError::Unreachable { .. } => {
            anyhow::anyhow!("{error}; --nats-url or NATS_URL says where it is, NATS_CONTEXT names a context of `nats`")
        }
        ConnectError::Denied { .. } => Unusable(error.to_string()).into(),
        ConnectError::TooOld { .. } => error.into(),
    }
}
