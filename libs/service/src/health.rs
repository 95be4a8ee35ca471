//! What a service says about itself over HTTP: `/livez`, `/readyz` and `/metrics` on HTTP_ADDR.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use clap::Args;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{
    Shutdown, Unusable, address, listen,
    metric::{BUILD_INFO, Kind, METRICS},
};

/// How often a loop that waits says that it still does.
const BEAT: Duration = Duration::from_secs(1);

/// How often observations are put into their buckets, asked or not: else they pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// The text format of Prometheus.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where a service says how it is.
#[derive(Args, Clone, Debug, Default)]
pub struct HealthSettings {
    /// Address that answers /livez, /readyz and /metrics, like 127.0.0.1:9090; off without
    #[arg(long, env = "HTTP_ADDR", global = true, value_name = "ADDRESS", value_parser = address)]
    pub http_addr: Option<SocketAddr>,
}

/// Why a service cannot do its work just now, in one line; `Ok` where it can.
pub type Readiness = Result<(), String>;

type Check = Arc<dyn Fn() -> Readiness + Send + Sync>;
type Refresh = Arc<dyn Fn() + Send + Sync>;

/// How a service is, as its own loop and its checks say; clones share it.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    began: Instant,
    /// Milliseconds from `began` to the last turn of the main loop.
    turned: AtomicU64,
    /// How old the last turn may be, in milliseconds.
    patience: AtomicU64,
    check: Mutex<Check>,
    refresh: Mutex<Option<Refresh>>,
    shutdown: Shutdown,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("age", &self.age()).finish_non_exhaustive()
    }
}

impl Health {
    /// The health of a service whose main loop turns at least every `patience`; it is not ready before its
    /// first check is set. Where `settings` say so it is served, and metrics are kept, until the process ends.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(settings: &HealthSettings, patience: Duration, shutdown: &Shutdown) -> Result<Self, Unusable> {
        let health = Self::new(Instant::now(), patience, shutdown);
        if let Some(address) = settings.http_addr {
            let listener = listen("HTTP_ADDR", address).await?;
            let bound = listener.local_addr().map_err(|error| Unusable(format!("HTTP_ADDR: {error}")))?;
            let router = router(health.clone(), metrics()?);
            tokio::spawn(async move { axum::serve(listener, router).await });
            tracing::info!("serving /livez, /readyz and /metrics on http://{bound}");
        }
        Ok(health)
    }

    /// It has not turned since `began`.
    fn new(began: Instant, patience: Duration, shutdown: &Shutdown) -> Self {
        let check: Check = Arc::new(|| Err("it is starting".into()));
        let inner = Inner {
            began,
            turned: AtomicU64::new(0),
            patience: AtomicU64::new(millis(patience)),
            check: Mutex::new(check),
            refresh: Mutex::default(),
            shutdown: shutdown.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The main loop has turned: one store, for the hottest loop.
    pub fn turn(&self) {
        self.inner.turned.store(millis(self.inner.began.elapsed()), Ordering::Relaxed);
    }

    /// A wait of the main loop that may last for ever. That its task is still polled counts as turning.
    pub async fn waiting<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = std::pin::pin!(wait);
        loop {
            self.turn();
            tokio::select! {
                biased;
                done = &mut wait => return done,
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    /// While this holds the main loop need not turn: what waits for a broker that is away is alive, and to be
    /// restarted would not help it.
    pub fn excuse_while(&self, excused: impl Fn() -> bool + Send + 'static) {
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            while let Some(inner) = inner.upgrade() {
                if excused() {
                    Self { inner }.turn();
                }
                tokio::time::sleep(BEAT).await;
            }
        });
    }

    /// The main loop turns at least so often from now on.
    pub fn expect_within(&self, patience: Duration) {
        self.inner.patience.store(millis(patience), Ordering::Relaxed);
    }

    /// From now on this decides whether the service can do its work. Asked for each `/readyz`, on a thread
    /// that may block.
    pub fn ready_when(&self, check: impl Fn() -> Readiness + Send + Sync + 'static) {
        *self.inner.check.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(check);
    }

    /// This sets gauges that nobody need keep between two scrapes; asked for each `/metrics`, on a thread that
    /// may block.
    pub fn refresh_with(&self, refresh: impl Fn() + Send + Sync + 'static) {
        *self.inner.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(refresh));
    }

    fn refresh(&self) {
        let refresh = self.inner.refresh.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(refresh) = refresh {
            refresh();
        }
    }

    fn age(&self) -> Duration {
        let turned = Duration::from_millis(self.inner.turned.load(Ordering::Relaxed));
        self.inner.began.elapsed().saturating_sub(turned)
    }

    fn live(&self) -> Readiness {
        let age = self.age();
        if millis(age) <= self.inner.patience.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(format!("the main loop has not turned for {} s", age.as_secs()))
    }

    fn ready(&self) -> Readiness {
        if self.inner.shutdown.is_requested() {
            return Err("it is stopping".into());
        }
        self.live()?;
        let check = Arc::clone(&self.inner.check.lock().unwrap_or_else(PoisonError::into_inner));
        check()
    }
}

/// Starts to keep metrics; a second time in one process the first ones go on.
fn metrics() -> Result<Option<PrometheusHandle>, Unusable> {
    let unusable = |error: &dyn fmt::Display| Unusable(format!("the metrics cannot be kept: {error}"));
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(bounds) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, bounds).map_err(|error| unusable(&error))?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        return Ok(None);
    }
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics_process::Collector::default().describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(Some(handle))
}

fn router(health: Health, metrics: Option<PrometheusHandle>) -> Router {
    let live = |State(health): State<Health>| std::future::ready(said(health.live()));
    // its check may ask a database
    let ready = |State(health): State<Health>| async move {
        let asked = tokio::task::spawn_blocking(move || health.ready()).await;
        said(asked.unwrap_or_else(|error| Err(format!("its check failed: {error}"))))
    };
    let shown = move |State(health): State<Health>| async move {
        let page = tokio::task::spawn_blocking(move || {
            health.refresh();
            metrics.map(|handle| {
                metrics_process::Collector::default().collect();
                handle.render()
            })
        });
        match page.await {
            Ok(page) => ([(header::CONTENT_TYPE, FORMAT)], page.unwrap_or_default()).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        }
    };
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(shown))
        .with_state(health)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn said(readiness: Readiness) -> Response {
    match readiness {
        Ok(()) => "ok\n".into_response(),
        Err(line) => (StatusCode::SERVICE_UNAVAILABLE, format!("{line}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// One whose loop may stand still for a minute, and has not turned for an hour.
    fn still() -> (Health, Shutdown) {
        let (hour, shutdown) = (Duration::from_hours(1), Shutdown::default());
        let began = Instant::now().checked_sub(hour).unwrap();
        (Health::new(began, Duration::from_mins(1), &shutdown), shutdown)
    }

    /// As if its loop had not turned for an hour.
    fn stand_still(health: &Health) {
        health.inner.turned.store(0, Ordering::Relaxed);
        assert!(health.live().is_err());
    }

    async fn until_live(health: &Health) {
        let since = Instant::now();
        while health.live().is_err() {
            assert!(since.elapsed() < Duration::from_secs(30), "it does not turn");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn a_loop_that_no_longer_turns_is_not_live_and_not_ready_over_http_and_says_for_how_long() {
        let (health, _) = still();
        health.ready_when(|| Ok(()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(health.clone(), None);
        let served = tokio::spawn(async move { axum::serve(listener, router).await });
        for path in ["/livez", "/readyz"] {
            stand_still(&health);
            let (status, line) = get(address, path).await;
            assert_eq!(status, 503, "{path}: {line}");
            assert!(line.starts_with("the main loop has not turned for 36"), "{path}: {line}");
            assert_eq!(line.lines().count(), 1, "{path}: {line}");
            health.turn();
            assert_eq!(get(address, path).await, (200, "ok\n".to_owned()), "{path}");
        }
        served.abort();
    }

    #[tokio::test]
    async fn a_wait_is_live_for_as_long_as_its_task_is_polled_and_no_longer() {
        let (health, _) = still();
        let mut waiting = std::pin::pin!(health.waiting(std::future::pending::<()>()));
        for _ in 0..2 {
            stand_still(&health);
            tokio::select! {
                () = &mut waiting => {}
                () = until_live(&health) => {}
            }
        }
        stand_still(&health);
        tokio::time::sleep(2 * BEAT).await;
        assert!(health.live().is_err(), "nobody polls it, and all the same it turns");
    }

    #[tokio::test]
    async fn an_excused_loop_is_live_although_it_does_not_turn() {
        let (health, _) = still();
        let excused = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let asked = Arc::clone(&excused);
        let (ask, mut asks) = tokio::sync::mpsc::unbounded_channel();
        health.excuse_while(move || {
            let _ = ask.send(());
            asked.load(Ordering::Relaxed)
        });
        for _ in 0..2 {
            stand_still(&health);
            until_live(&health).await;
        }
        excused.store(false, Ordering::Relaxed);
        stand_still(&health);
        while asks.try_recv().is_ok() {}
        asks.recv().await.unwrap();
        assert!(health.live().is_err(), "it is excused no longer");
    }

    #[tokio::test]
    async fn it_is_ready_neither_before_its_first_check_nor_once_asked_to_stop() {
        let (health, shutdown) = still();
        health.turn();
        assert_eq!(health.ready(), Err("it is starting".into()));
        health.ready_when(|| Err("not connected".into()));
        assert_eq!(health.ready(), Err("not connected".into()));
        health.ready_when(|| Ok(()));
        assert_eq!(health.ready(), Ok(()));
        shutdown.request();
        assert_eq!((health.ready(), health.live()), (Err("it is stopping".into()), Ok(())));
    }
}
