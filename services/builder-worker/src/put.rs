//! The request that publishes, made by a process of its own.
//!
//! It is the worker's own program below the guard of the build, started when every other process of the build has
//! ended. It reads one line on stdin, which has the token, makes one request, prints one line, and ends. So the
//! guard ends it with the fuse, whatever the worker does, and no code of the package is alive beside the token.

use std::{
    io,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use packline_npm::{Access, Client, Document, Kind, Refusal};
use serde::{Deserialize, Serialize};

use crate::{guard::boottime_millis, phase::TEMPFAIL};

/// How often it looks whether it was frozen.
const LOOK: Duration = Duration::from_millis(50);

/// What is put, as one line on stdin.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The registry, with what it wants to see.
    pub access: Access,
    /// Who asks.
    pub user_agent: String,
    /// The package.
    pub name: String,
    /// The version.
    pub version: String,
    /// The document, without the tarball: a JSON object.
    pub document: String,
    /// The packed tarball.
    pub tarball: PathBuf,
    /// Its integrity.
    pub integrity: String,
    /// When this was ordered, on CLOCK_BOOTTIME, in milliseconds.
    pub ordered_at: u64,
    /// The longest that this process may stand still from then on, in milliseconds: beyond it somebody else may have
    /// the package.
    pub still_millis: u64,
    /// The longest that the registry may take, in milliseconds.
    pub timeout_millis: u64,
}

/// What came of it, as one line on stdout.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Why it is not stored, as far as that is known.
    pub refusal: Option<Refusal>,
}

/// Reads the order and follows it.
pub(crate) fn run() -> ExitCode {
    // A process of the same user must not read the token out of this one.
    let _ = nix::sys::prctl::set_dumpable(false);
    match follow() {
        Ok(answer) => {
            println!("{}", serde_json::to_string(&answer).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the request failed: {error}");
            ExitCode::from(TEMPFAIL)
        }
    }
}

fn follow() -> io::Result<Answer> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    drop(line);
    let pulse = Pulse::start(order.ordered_at, order.still_millis);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let put = async {
        let document = Document {
            name: order.name,
            version: order.version,
            head: order.document,
            tarball: order.tarball,
            integrity: order.integrity,
        };
        let client = Client::new(&order.access, &order.user_agent).map_err(|unusable| {
            let kind = Kind::Unavailable;
            Refusal { kind, message: unusable.to_string() }
        })?;
        let go_on = move || pulse.check();
        client.put_watched(&document, go_on, Duration::from_millis(order.timeout_millis)).await
    };
    Ok(Answer { refusal: runtime.block_on(put).err() })
}

/// Ends this process where it was frozen: by the time it goes on, another worker may have published.
#[derive(Clone)]
struct Pulse {
    still_millis: u64,
    last: Arc<AtomicU64>,
}

impl Pulse {
    fn start(ordered_at: u64, still_millis: u64) -> Self {
        let pulse = Self { still_millis, last: Arc::new(AtomicU64::new(ordered_at)) };
        let beat = pulse.clone();
        thread::spawn(move || {
            loop {
                beat.check();
                thread::sleep(LOOK);
            }
        });
        pulse
    }

    /// Called by the thread of its own and before each piece of the request, so that whichever comes first sees it.
    fn check(&self) {
        let now = boottime_millis();
        let still = now.saturating_sub(self.last.load(Ordering::SeqCst));
        if still > self.still_millis {
            // The time is not noted, so that the other caller sees the same, however late this one comes to its end.
            eprintln!("this process stood still for {still} ms and goes on no more");
            std::process::exit(TEMPFAIL.into());
        }
        self.last.fetch_max(now, Ordering::SeqCst);
    }
}
