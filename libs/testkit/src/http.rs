//! HTTP as a stranger speaks it.

/// Chooses ring for all TLS of this process, as every program of Packline does first: reqwest as it is compiled
/// for the workspace has no provider of its own, and panics without one also where no TLS is spoken.
pub fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client without any manners of its own.
///
/// # Panics
/// When no client can be made, which reqwest says of a broken TLS set-up only.
pub fn stranger() -> reqwest::Client {
    use_ring();
    reqwest::Client::builder().no_proxy().build().expect("a client without settings")
}
