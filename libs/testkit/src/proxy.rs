//! A TCP proxy before a server that can misbehave: lose answers, lose requests, delay, refuse, cut.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// How the proxy treats its connections now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Manners {
    swallow_answers: bool,
    swallow_requests: bool,
    refuse: bool,
    delay: Duration,
    /// After so many more bytes of one direction everything is cut.
    requests_left: Option<usize>,
    answers_left: Option<usize>,
    /// Connections older than this cut are closed.
    cut: u64,
    /// Connections that lost bytes before this healing are closed: what follows would make no sense.
    healed: u64,
}

/// A proxy on a port of its own at 127.0.0.1. Ends with all its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    manners: watch::Sender<Manners>,
    lost: watch::Sender<u64>,
    accepts: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy before the server at `target` of 127.0.0.1, that passes everything on.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (manners, lost) = (watch::Sender::new(Manners::default()), watch::Sender::new(0));
        let target = (Ipv4Addr::LOCALHOST, target).into();
        let accepts = tokio::spawn(accept(listener, target, manners.clone(), lost.clone()));
        Ok(Self { port, manners, lost, accepts })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address for NATS.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// From now on the server hears everything and nobody hears the server.
    pub fn swallow_answers(&self) {
        self.manners.send_modify(|manners| manners.swallow_answers = true);
    }

    /// From now on the server hears nothing.
    pub fn swallow_requests(&self) {
        self.manners.send_modify(|manners| manners.swallow_requests = true);
    }

    /// Returns once so many bytes were lost since the proxy started.
    pub async fn lost(&self, bytes: u64) {
        let _ = self.lost.subscribe().wait_for(|lost| *lost >= bytes).await;
    }

    /// From now on everything takes so much longer, either way.
    pub fn delay(&self, delay: Duration) {
        self.manners.send_modify(|manners| manners.delay = delay);
    }

    /// From now on new connections are closed at once.
    pub fn refuse(&self) {
        self.manners.send_modify(|manners| manners.refuse = true);
    }

    /// Closes all connections that there are.
    pub fn cut(&self) {
        self.manners.send_modify(|manners| manners.cut += 1);
    }

    /// Closes all connections after the server has heard so many more bytes.
    pub fn cut_after_requests(&self, bytes: usize) {
        self.manners.send_modify(|manners| manners.requests_left = Some(bytes));
    }

    /// Closes all connections after the server was heard for so many more bytes.
    pub fn cut_after_answers(&self, bytes: usize) {
        self.manners.send_modify(|manners| manners.answers_left = Some(bytes));
    }

    /// Behaves from now on; connections that lost something are closed.
    pub fn heal(&self) {
        self.manners.send_modify(|manners| {
            *manners = Manners { cut: manners.cut, healed: manners.healed + 1, ..Manners::default() };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, manners: watch::Sender<Manners>, lost: watch::Sender<u64>) {
    while let Ok((client, _)) = listener.accept().await {
        if !manners.borrow().refuse {
            tokio::spawn(serve(client, target, manners.clone(), lost.clone()));
        }
    }
}

async fn serve(client: TcpStream, target: SocketAddr, manners: watch::Sender<Manners>, lost: watch::Sender<u64>) {
    let cut = manners.borrow().cut;
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (mut cuts, answered) = (manners.subscribe(), lost.clone());
    let requests = Direction {
        manners: manners.clone(),
        lost,
        swallows: |manners| manners.swallow_requests,
        left: |manners| &mut manners.requests_left,
    };
    let answers = Direction {
        manners,
        lost: answered,
        swallows: |manners| manners.swallow_answers,
        left: |manners| &mut manners.answers_left,
    };
    tokio::select! {
        _ = requests.pump(from_client, to_server) => {}
        _ = answers.pump(from_server, to_client) => {}
        _ = cuts.wait_for(|manners| manners.cut > cut) => {}
    }
}

/// One way through the proxy.
struct Direction {
    manners: watch::Sender<Manners>,
    lost: watch::Sender<u64>,
    swallows: fn(&Manners) -> bool,
    left: fn(&mut Manners) -> &mut Option<usize>,
}

impl Direction {
    /// Passes bytes on until one side ends, or until it lost some and the proxy was healed.
    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut manners = self.manners.subscribe();
        let mut buffer = vec![0; 64 * 1024];
        let mut torn = None;
        loop {
            let size = tokio::select! {
                size = from.read(&mut buffer) => size?,
                () = healed(&mut manners, torn) => return Ok(()),
            };
            let now = *self.manners.borrow();
            let Some(bytes) = buffer.get(..size).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            if torn.is_some() || (self.swallows)(&now) {
                torn = torn.or(Some(now.healed));
                self.lost.send_modify(|lost| *lost += bytes.len() as u64);
                continue;
            }
            tokio::time::sleep(now.delay).await;
            let passing = self.spend(bytes.len());
            to.write_all(bytes.get(..passing).unwrap_or(bytes)).await?;
            if passing < bytes.len() {
                self.manners.send_modify(|manners| manners.cut += 1);
                return Ok(());
            }
        }
    }

    /// How many of these bytes may pass before the cut.
    fn spend(&self, bytes: usize) -> usize {
        let mut passing = bytes;
        self.manners.send_if_modified(|manners| {
            let left = (self.left)(manners);
            if let Some(more) = *left {
                passing = bytes.min(more);
                *left = if passing < bytes { None } else { Some(more - bytes) };
            }
            false
        });
        passing
    }
}

/// Returns when a connection that was torn after so many healings has seen the next one.
async fn healed(manners: &mut watch::Receiver<Manners>, torn: Option<u64>) {
    match torn {
        Some(count) => {
            let _ = manners.wait_for(|manners| manners.healed > count).await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte with the next one.
    async fn successor() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut peer, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    while let Ok(byte) = peer.read_u8().await {
                        peer.write_u8(byte + 1).await.unwrap();
                    }
                });
            }
        });
        port
    }

    async fn dial(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap()
    }

    #[tokio::test]
    async fn answers_are_lost_until_healed_and_the_torn_connection_ends() {
        let proxy = Proxy::start(successor().await).await.unwrap();
        let mut client = dial(&proxy).await;
        client.write_u8(1).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 2);
        proxy.swallow_answers();
        client.write_u8(2).await.unwrap();
        proxy.lost(1).await;
        proxy.heal();
        assert!(client.read_u8().await.is_err());
        let mut client = dial(&proxy).await;
        client.write_u8(3).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 4);
    }

    #[tokio::test]
    async fn connections_are_cut_and_refused() {
        let proxy = Proxy::start(successor().await).await.unwrap();
        let mut client = dial(&proxy).await;
        client.write_u8(1).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 2);
        proxy.refuse();
        proxy.cut();
        assert!(client.read_u8().await.is_err());
        let mut refused = dial(&proxy).await;
        assert!(refused.read_u8().await.is_err());
    }
}
