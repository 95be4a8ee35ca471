//! The only place that speaks NATS: topology, commits, lease, consumers, dead letters.
//!
//! Everything here keeps one promise: an answer that never came is never taken for a yes or a no.
//! What was asked is asked again unchanged, or the state is read; see [`Chain`] and
//! [`Bucket::write_until_decided`].

mod ask;
mod batch;
mod bucket;
mod checkup;
mod commit;
mod connect;
mod consume;
mod context;
mod dead;
mod delivery;
mod ensure;
mod error;
mod follow;
mod header;
mod lease;
mod load;
mod log;
mod patience;
mod publish;
mod pull;
mod question;
mod reader;
mod settings;
mod stored;
pub mod topology;
mod wake;
mod watch;

pub use bucket::{Bucket, Conflict, Entry, UpdateError};
pub use commit::{Chain, CommitError, Committed, MAX_WRITES, Write};
pub use connect::{Broker, ConnectError, OLDEST_BROKER};
pub use consume::{ConsumeError, ConsumerState, InOrder, Pull};
pub use dead::{DeadLetter, Source};
pub use delivery::{Acker, Delivery};
pub use ensure::{StreamState, TopologyError};
pub use error::{BrokerError, Refusal};
pub use follow::{Follow, Followed, From};
pub use lease::LeaseWatch;
pub use log::BuildLog;
pub use publish::{BATCH_FROM, Message};
pub use question::{Question, Questions};
pub use settings::Settings;
pub use stored::Stored;
pub use topology::{BucketName, StreamName};
pub use wake::Wakeups;
pub use watch::{Watch, Watched};
