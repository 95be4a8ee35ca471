//! Requests that got no answer: where they failed, and what would help.

use std::{error::Error, io};

use rustls::{AlertDescription, Error as Tls};
use url::Url;

use crate::{
    access::Access,
    proxies::shown,
    refusal::{Asked, Kind, Refusal},
    words,
};

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Nothing of its body was asked for.
    Nothing,
    /// Some of it, or all.
    Part,
}

/// A request that failed without an answer.
pub(crate) fn refusal(
    error: &(dyn Error + 'static),
    access: &Access,
    asked: Asked<'_>,
    url: &Url,
    sent: Sent,
) -> Refusal {
    let host = url.origin().ascii_serialization();
    let is_registry = Url::parse(access.registry()).is_ok_and(|registry| registry.origin() == url.origin());
    let host = if is_registry { access.registry() } else { &host };
    let is_open = asked.is_put() && sent == Sent::Part;
    if let Some(tls) = chain(error).find_map(tls) {
        let message =
            format!("TLS connection to {host} failed: {}{}", words::line(&tls.to_string()), help(tls, access));
        let kind = if is_open { Kind::NoAnswer } else { Kind::Unavailable };
        return Refusal::new(kind, access.blank(message));
    }
    // The innermost says what happened.
    let why = chain(error).last().map(ToString::to_string).unwrap_or_default();
    let is_connect =
        chain(error).filter_map(|error| error.downcast_ref::<reqwest::Error>()).any(reqwest::Error::is_connect);
    let is_timeout =
        chain(error).filter_map(|error| error.downcast_ref::<reqwest::Error>()).any(reqwest::Error::is_timeout);
    let why = if is_timeout { "timed out".to_owned() } else { words::line(&why) };
    let through = match access.proxies.for_url(url) {
        Some(proxy) => format!(" through the proxy {}", shown(proxy)),
        None => String::new(),
    };
    let (kind, message) = if is_open {
        (Kind::NoAnswer, format!("{host} did not answer the request{through}: {why}"))
    } else if is_connect || asked.is_put() {
        (Kind::Unavailable, format!("{host} cannot be reached{through}: {why}"))
    } else {
        (Kind::Unavailable, format!("{host} did not answer{through}: {why}"))
    };
    Refusal::new(kind, access.blank(message))
}

/// An error and all that is behind it.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// What rustls said, however deep: an error of I/O that holds another hands out the source of that, and not it itself.
fn tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Tls> {
    let mut held = error;
    loop {
        if let Some(tls) = held.downcast_ref::<Tls>() {
            return Some(tls);
        }
        held = held.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

/// Which setting of npm would help.
fn help(error: &Tls, access: &Access) -> String {
    use AlertDescription as Alert;
    let setting = match error {
        Tls::InvalidCertificate(_) if access.roots.is_some() => {
            "; only the CAs in npm's `ca` or `cafile` are trusted, and its own must be among them"
        }
        Tls::InvalidCertificate(_) => {
            "; name its CA in npm's `cafile` or in NODE_EXTRA_CA_CERTS, or turn the check off with `strict-ssl=false`"
        }
        Tls::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::HandshakeFailure,
        ) => "; it may want a client certificate: `certfile` and `keyfile` of this registry in npm's settings",
        _ => "",
    };
    let hints: String = access.hints.iter().map(|hint| format!("; {}", words::line(hint))).collect();
    format!("{setting}{hints}")
}
