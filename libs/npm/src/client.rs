//! The requests to one registry.

use std::{path::Path, sync::OnceLock, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Certificate, Identity, Method, Proxy, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderValue, LOCATION, USER_AGENT},
    redirect::Policy,
};
use thiserror::Error;
use tokio::{fs::File, io::AsyncWriteExt, time::timeout};
use url::Url;

use crate::{
    access::Access,
    packument::Packument,
    refusal::{Answer, Asked, Refusal},
    settings::DEFAULT_REGISTRY,
    trouble::{self, Sent},
};

/// The short document of a package where a registry has one, else the whole.
const SHORT: &str = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*";

/// Bytes of the largest document of a package that is read.
const DOCUMENT: usize = 64 << 20;

/// Bytes of a refusal that are read.
const WORDS: usize = 64 << 10;

/// Redirects that are followed, as many as by npm.
const REDIRECTS: usize = 20;

/// What needs no escape in a name.
const NAME: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@').remove(b'!').remove(b'\'');

/// Settings with which no request can be made; one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// Speaks to one registry. Nothing that opens it is sent anywhere else.
#[derive(Debug)]
pub struct Client {
    pub(crate) access: Access,
    pub(crate) registry: Url,
    /// Marked, so that it shows in no log.
    authorization: Option<HeaderValue>,
    user_agent: HeaderValue,
    http: reqwest::Client,
    /// Without the client certificate, for other hosts.
    other: OnceLock<reqwest::Client>,
}

impl Client {
    /// For this registry, with a name for ourselves.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn new(access: &Access, user_agent: &str) -> Result<Self, Unusable> {
        let shown = access.registry();
        let unusable = |what: String| Unusable(access.blank(format!("registry {shown}: {what}")));
        let registry = Url::parse(&format!("{shown}/")).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let registry = registry.ok_or_else(|| {
            let what = format!(
                "`{}` is not the address of a registry: it must start with https:// or http://",
                shown.escape_debug()
            );
            Unusable(access.blank(what))
        })?;
        access.proxies.checked(&registry).map_err(unusable)?;
        let authorization = match access.authorization.as_ref().map(|authorization| authorization.header()) {
            Some(text) => {
                let value = HeaderValue::try_from(text);
                let mut value =
                    value.map_err(|_| unusable("what opens it has characters that cannot be sent".into()))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let user_agent = HeaderValue::try_from(user_agent)
            .map_err(|_| unusable(format!("`{}` is not a user agent", user_agent.escape_debug())))?;
        let http = connector(access, &registry, true).map_err(unusable)?;
        Ok(Self { access: access.clone(), registry, authorization, user_agent, http, other: OnceLock::new() })
    }

    /// What the registry has of a package, asked past every cache; `None` where it has nothing.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn look(&self, name: &str, within: Duration) -> Result<Option<Packument>, Refusal> {
        let asked = Asked::Look(name);
        self.within(within, asked, async {
            let mut response = self.get(self.address(name)?, asked, SHORT).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            if !response.status().is_success() {
                return Err(self.refused(response, asked).await);
            }
            let body = self.body(&mut response, asked, DOCUMENT).await?;
            let body =
                body.ok_or_else(|| self.odd(format!("its document of {name} is larger than {DOCUMENT} bytes")))?;
            if !body.trim_ascii_start().starts_with(b"{") {
                return Err(self.odd("its answer is not a package document".into()));
            }
            let document = packline_json::parse(&body).map_err(|error| error.to_string());
            let packument = document.and_then(|read| serde_json::from_value(read).map_err(|error| error.to_string()));
            packument.map(Some).map_err(|error| self.odd(format!("its answer is not a package document: {error}")))
        })
        .await
    }

    /// Fetches a tarball, as its version names it, into a new file. Of a failure nothing is left, and nothing that was
    /// there is touched.
    ///
    /// # Errors
    /// See [`Refusal`]; a tarball of more than `limit` bytes is permanent.
    pub async fn download(&self, tarball: &str, to: &Path, limit: u64, within: Duration) -> Result<(), Refusal> {
        let asked = Asked::Download(tarball);
        let mut file = File::create_new(to).await.map_err(|error| unwritten(to, &error))?;
        let fetch = self.fetch(asked, tarball, &mut file, limit, |error| unwritten(to, &error));
        let fetched = self.within(within, asked, fetch).await;
        if fetched.is_err() {
            let _ = tokio::fs::remove_file(to).await;
        }
        fetched
    }

    async fn fetch(
        &self,
        asked: Asked<'_>,
        tarball: &str,
        file: &mut File,
        limit: u64,
        unwritten: impl Fn(std::io::Error) -> Refusal,
    ) -> Result<(), Refusal> {
        let url = self
            .tarball(tarball)
            .ok_or_else(|| self.odd(format!("`{}` is not the URL of a tarball", tarball.escape_debug())))?;
        let response = self.get(url, asked, "*/*").await?;
        if !response.status().is_success() {
            return Err(self.refused(response, asked).await);
        }
        let url = response.url().clone();
        let (mut pieces, mut size) = (response.bytes_stream(), 0);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| trouble::refusal(&error, &self.access, asked, &url, Sent::Part))?;
            size += piece.len() as u64;
            if size > limit {
                let shown = self.access.blank(crate::words::line(tarball));
                return Err(Refusal::permanent(format!("the tarball {shown} is larger than {limit} bytes")));
            }
            file.write_all(&piece).await.map_err(&unwritten)?;
        }
        file.flush().await.map_err(&unwritten)
    }

    /// Where a package is.
    pub(crate) fn address(&self, name: &str) -> Result<Url, Refusal> {
        let url = match name {
            "" | "." | ".." => None,
            _ => {
                // As npm writes it; some registries know no other way.
                let parts: Vec<_> = name.split('/').map(|part| utf8_percent_encode(part, &NAME).to_string()).collect();
                Url::parse(&format!("{}{}", self.registry, parts.join("%2f"))).ok()
            }
        };
        url.ok_or_else(|| Refusal::permanent(format!("`{}` is not a package name", name.escape_debug())))
    }

    /// Where a tarball is to be had: a registry behind `https` may say `http`, and a mirror the public registry, which
    /// then means the mirror.
    fn tarball(&self, said: &str) -> Option<Url> {
        let mut url = self.registry.join(said).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        let is_public = DEFAULT_REGISTRY.split_once("://").is_some_and(|(_, host)| url.host_str() == Some(host));
        if is_public && url.port().is_none() {
            return self.registry.join(url.path()).ok();
        }
        let is_same_host = url.host_str() == self.registry.host_str() && url.port() == self.registry.port();
        if is_same_host && self.registry.scheme() == "https" {
            url.set_scheme("https").ok()?;
        }
        Some(url)
    }

    /// A request with what opens the registry, where it is the registry.
    pub(crate) fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, Refusal> {
        let is_home = url.origin() == self.registry.origin();
        self.access.proxies.checked(url).map_err(Refusal::permanent)?;
        let http = match (is_home, self.other.get()) {
            (true, _) => &self.http,
            (false, Some(other)) => other,
            (false, None) => {
                let made = connector(&self.access, url, false).map_err(Refusal::permanent)?;
                self.other.get_or_init(|| made)
            }
        };
        let request = http.request(method, url.clone()).header(USER_AGENT, self.user_agent.clone());
        Ok(match &self.authorization {
            Some(authorization) if is_home => request.header(AUTHORIZATION, authorization.clone()),
            _ => request,
        })
    }

    /// What is at an address, or where that redirects to. Only the registry itself gets what opens it.
    async fn get(&self, mut url: Url, asked: Asked<'_>, accept: &str) -> Result<Response, Refusal> {
        for _ in 0..=REDIRECTS {
            let mut request = self.request(Method::GET, &url)?.header(ACCEPT, accept);
            if matches!(asked, Asked::Look(_)) {
                request = request.header(CACHE_CONTROL, "no-cache");
            }
            let sent = request.send().await;
            let response = sent.map_err(|error| trouble::refusal(&error, &self.access, asked, &url, Sent::Part))?;
            let place = match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => response.headers().get(LOCATION).and_then(|place| place.to_str().ok()),
                _ => None,
            };
            let next = place.and_then(|place| url.join(place).ok());
            match next.filter(|next| matches!(next.scheme(), "http" | "https")) {
                Some(mut next) => {
                    // What a redirect puts there is no login that anybody has set.
                    let _ = (next.set_username(""), next.set_password(None));
                    url = next;
                }
                None => return Ok(response),
            }
        }
        Err(self.odd(format!("it redirects more than {REDIRECTS} times")))
    }

    /// An answer that is no success.
    pub(crate) async fn refused(&self, mut response: Response, asked: Asked<'_>) -> Refusal {
        let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
        let mut body = Vec::new();
        while let Ok(Some(piece)) = response.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() >= WORDS {
                break;
            }
        }
        let host = match url.origin() == self.registry.origin() {
            true => self.access.registry().to_owned(),
            false => url.origin().ascii_serialization(),
        };
        let now = Timestamp::now();
        let (access, headers, body) = (&self.access, &headers, body.as_slice());
        Answer { asked, access, host: &host, status, headers, body, now }.refusal()
    }

    /// The body; `None` where it is larger.
    async fn body(&self, response: &mut Response, asked: Asked<'_>, limit: usize) -> Result<Option<Vec<u8>>, Refusal> {
        let url = response.url().clone();
        let mut body = Vec::new();
        loop {
            let piece = response.chunk().await;
            match piece.map_err(|error| trouble::refusal(&error, &self.access, asked, &url, Sent::Part))? {
                Some(piece) if body.len() + piece.len() > limit => return Ok(None),
                Some(piece) => body.extend_from_slice(&piece),
                None => return Ok(Some(body)),
            }
        }
    }

    /// An answer that no registry gives.
    fn odd(&self, what: String) -> Refusal {
        let what = crate::words::line(&self.access.blank(what));
        Refusal::unavailable(self.access.blank(format!("{}: {what}", self.access.registry())))
    }

    async fn within<T>(
        &self,
        within: Duration,
        asked: Asked<'_>,
        request: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        debug_assert!(!asked.is_put(), "a put knows by itself how far it got");
        match timeout(within, request).await {
            Ok(ended) => ended,
            Err(_) => Err(self.odd(format!("no answer within {} s", within.as_secs_f32()))),
        }
    }
}

fn unwritten(file: &Path, error: &std::io::Error) -> Refusal {
    Refusal::unavailable(format!("{} cannot be written: {error}", file.display()))
}

/// What opens connections as npm's settings say.
fn connector(access: &Access, url: &Url, is_home: bool) -> Result<reqwest::Client, String> {
    // reqwest as it is compiled here has no provider of its own, and panics without one also where no TLS is spoken.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let proxies = access.proxies.clone();
    let mut builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .proxy(Proxy::custom(move |url| proxies.checked(url).ok().flatten()));
    if let (Some(identity), true) = (&access.identity, is_home) {
        let both = format!("{}\n{}", identity.certificate.trim(), identity.key.trim());
        let identity = Identity::from_pem(both.as_bytes())
            .map_err(|_| "its client certificate or key is not usable PEM".to_owned())?;
        builder = builder.identity(identity);
    }
    let parsed = |pem: &str| Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
    // npm passes over what is no certificate, too.
    builder = match (&access.roots, &access.extra_roots) {
        (Some(roots), _) => builder.tls_certs_only(roots.iter().flat_map(|pem| parsed(pem))),
        // A machine without any CA can still speak plain HTTP.
        (None, None) if url.scheme() == "http" => builder.tls_certs_only([]),
        (None, extra) => builder.tls_certs_merge(extra.iter().flat_map(|pem| parsed(pem))),
    };
    if !access.strict_ssl {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build().map_err(|error| {
        let why = trouble::chain(&error).last().map(ToString::to_string).unwrap_or_default();
        format!("TLS cannot be set up: {why}")
    })
}
