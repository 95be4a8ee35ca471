//! A registry stand-in: it speaks npm's publish protocol from memory, notes every request, and misbehaves as told.

mod behaviour;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use behaviour::{Answer, Behaviour, Hold};

use behaviour::{Gate, Script};
use store::Store;

/// How long a test waits for a request before it fails.
const GENEROUS: Duration = Duration::from_secs(60);

/// Small, so that a held upload soon holds its sender too. The sender's own buffer takes up to a few MB still.
const RECEIVE_BUFFER: u32 = 256 * 1024;

/// A registry on a port of its own at 127.0.0.1. Ends with all its connections when dropped.
#[derive(Debug)]
pub struct StandIn {
    shared: Arc<Shared>,
    accepts: JoinHandle<()>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    url: String,
    script: Mutex<Script>,
    store: Mutex<Store>,
    requests: watch::Sender<Vec<Request>>,
}

/// A request as it was received.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path as it was sent, with its query: `/@acme%2fcore`.
    pub path: String,
    /// Names in lower case, in the order in which they were sent.
    pub headers: Vec<(String, String)>,
    /// As much of it as was read; empty until then.
    pub body: Arc<Vec<u8>>,
    /// When the body was wholly read; `None` where it was not.
    pub read_at: Option<Instant>,
    /// The status of the answer, from just before it is sent; `None` where there is no answer (yet).
    pub answered: Option<u16>,
}

impl Request {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The package that the path names.
    pub fn package(&self) -> Option<String> {
        store::Target::of(&self.path).package()
    }

    /// The body.
    ///
    /// # Panics
    /// When it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }
}

impl StandIn {
    /// Starts an empty registry.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        Self::listen().expect("a registry stand-in that listens")
    }

    fn listen() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(64)?;
        let url = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let requests = watch::Sender::new(Vec::new());
        let shared = Arc::new(Shared { store: Mutex::new(Store::at(&url)), url, script: Mutex::default(), requests });
        let serving = Arc::clone(&shared);
        let accepts = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(connection(stream, Arc::clone(&serving)));
            }
        });
        Ok(Self { shared, accepts })
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// How the next put is treated that has no behaviour yet; those after it are treated normally.
    pub fn next_put(&self, behaviour: Behaviour) {
        lock(&self.shared.script).put("PUT", behaviour);
    }

    /// The same of the next GET, of whatever it asks for but `/-/ping`.
    pub fn next_get(&self, behaviour: Behaviour) {
        lock(&self.shared.script).put("GET", behaviour);
    }

    /// The next put is held after so many bytes of its body were read, until it is released.
    pub fn hold_put_after(&self, bytes: usize) -> Hold {
        let (gate, hold) = Gate::new();
        lock(&self.shared.script).put_held_body("PUT", bytes, gate);
        hold
    }

    /// The next put is stored, and its answer held until it is released.
    pub fn hold_put_answer(&self) -> Hold {
        self.hold_answer("PUT")
    }

    /// The answer to the next GET is held until it is released; it says what was so when the GET came.
    pub fn hold_get_answer(&self) -> Hold {
        self.hold_answer("GET")
    }

    fn hold_answer(&self, method: &'static str) -> Hold {
        let (gate, hold) = Gate::new();
        lock(&self.shared.script).put_held_answer(method, gate);
        hold
    }

    /// All requests so far, in the order in which their heads came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.borrow().clone()
    }

    /// The puts of a package so far, those that were broken off as well.
    pub fn puts(&self, package: &str) -> Vec<Request> {
        let requests = self.shared.requests.borrow();
        requests.iter().filter(|request| is_put(request, package)).cloned().collect()
    }

    /// Returns once the requests are so.
    ///
    /// # Panics
    /// When they are not within a minute: with `what` was waited for and the requests that came.
    pub async fn until(&self, what: &str, mut condition: impl FnMut(&[Request]) -> bool) {
        let mut requests = self.shared.requests.subscribe();
        let waiting = requests.wait_for(|requests| condition(requests));
        if tokio::time::timeout(GENEROUS, waiting).await.is_err() {
            let came = self.requests();
            let lines: Vec<_> = came.iter().map(|r| format!("{} {} → {:?}", r.method, r.path, r.answered)).collect();
            panic!("waited in vain for {what}; what came: {lines:#?}");
        }
    }

    /// Returns the puts of a package once so many of them were wholly read.
    ///
    /// # Panics
    /// See [`StandIn::until`].
    pub async fn until_puts(&self, package: &str, count: usize) -> Vec<Request> {
        let is_read = |request: &&Request| is_put(request, package) && request.read_at.is_some();
        self.until(&format!("{count} puts of {package}"), |all| all.iter().filter(is_read).count() >= count).await;
        self.requests().iter().filter(is_read).cloned().collect()
    }

    /// What is stored of a package: the whole document, whatever is shown of it.
    pub fn document(&self, package: &str) -> Option<Value> {
        lock(&self.shared.store).document(package)
    }

    /// The tarball of a version.
    pub fn tarball(&self, package: &str, version: &str) -> Option<Vec<u8>> {
        lock(&self.shared.store).tarball(package, version)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // The connections are tasks of this one, and end with it.
        self.accepts.abort();
    }
}

impl Shared {
    /// Notes a request; its number.
    fn note(&self, request: Request) -> usize {
        let mut number = 0;
        self.requests.send_modify(|requests| {
            number = requests.len();
            requests.push(request);
        });
        number
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Request)) {
        self.requests.send_modify(|requests| {
            if let Some(request) = requests.get_mut(number) {
                change(request);
            }
        });
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    serve::serve(wire::Connection::new(stream), &shared).await;
}

fn is_put(request: &Request, package: &str) -> bool {
    request.method == "PUT" && request.package().as_deref() == Some(package)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
