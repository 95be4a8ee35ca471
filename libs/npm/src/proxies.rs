//! Which proxy a request goes through.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{access::decoded, settings::Settings};

/// The proxies of npm's settings and of the environment.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proxies {
    /// By npm's settings, for every address.
    configured: Option<String>,
    /// By variables, for `https` addresses.
    https: Option<String>,
    /// The same for `http` addresses.
    http: Option<String>,
    /// Hosts that are reached without.
    except: Vec<String>,
}

impl Proxies {
    pub(crate) fn of(settings: &Settings) -> Self {
        // npm does not mind how they are spelt; the last one counts.
        let variable = |name: &str| {
            let mut found = settings.environment.variables().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            let value = found.by_ref().last()?.1;
            (!value.is_empty()).then(|| value.to_owned())
        };
        let https = variable("https_proxy");
        let except = settings.text("noproxy").or_else(|| variable("no_proxy")).unwrap_or_default();
        Self {
            configured: settings.text("https-proxy").or_else(|| settings.text("proxy")),
            http: https.clone().or_else(|| variable("http_proxy")).or_else(|| variable("proxy")),
            https,
            except: except.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).collect(),
        }
    }

    /// The proxy for an address.
    pub(crate) fn for_url(&self, url: &Url) -> Option<&str> {
        let by_scheme = if url.scheme() == "https" { &self.https } else { &self.http };
        let proxy = self.configured.as_deref().or(by_scheme.as_deref())?;
        let host = url.host_str().unwrap_or_default();
        (!self.except.iter().any(|except| is_below(host, except))).then_some(proxy)
    }

    /// The same, ready for use.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(crate) fn checked(&self, url: &Url) -> Result<Option<Url>, String> {
        let Some(proxy) = self.for_url(url) else { return Ok(None) };
        match Url::parse(proxy) {
            Ok(proxy) if matches!(proxy.scheme(), "http" | "https") && proxy.has_host() => Ok(Some(proxy)),
            _ => Err(format!("the proxy {} cannot be used: it must start with http:// or https://", shown(proxy))),
        }
    }

    pub(crate) fn secrets(&self) -> Vec<String> {
        let all = [&self.configured, &self.https, &self.http];
        let urls = all.into_iter().flatten().filter_map(|proxy| Url::parse(proxy).ok());
        let logins = urls.filter_map(|url| Some((decoded(url.username()), url.password()?.to_owned())));
        let mut secrets: Vec<String> = logins
            .flat_map(|(user, password)| {
                let plain = decoded(&password);
                [BASE64_STANDARD.encode(format!("{user}:{plain}")), plain, password]
            })
            .collect();
        secrets.sort();
        secrets.dedup();
        secrets
    }
}

/// A proxy without user and password.
pub(crate) fn shown(proxy: &str) -> String {
    let rest = proxy.rsplit_once('@').map_or(proxy, |(_, rest)| rest);
    let scheme = proxy.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
    let rest = rest.strip_prefix(&scheme).unwrap_or(rest).trim_end_matches('/');
    format!("{scheme}{rest}").escape_debug().to_string()
}

/// Whether the host is this one or below it, part by part: `*` has no meaning to npm.
fn is_below(host: &str, except: &str) -> bool {
    let mut parts = except.split('.').filter(|part| !part.is_empty()).rev().peekable();
    let mut host = host.rsplit('.');
    parts.peek().is_some() && parts.all(|part| host.next() == Some(part))
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |proxy: &Option<String>| proxy.as_deref().map(shown);
        f.debug_struct("Proxies")
            .field("configured", &show(&self.configured))
            .field("https", &show(&self.https))
            .field("http", &show(&self.http))
            .field("except", &self.except)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    fn proxy(variables: &[(&str, &str)], user: &str, url: &str) -> Option<String> {
        let proxies = Proxies::of(&settings(variables, &[("/home/u/.npmrc", user)]));
        proxies.for_url(&Url::parse(url).unwrap()).map(str::to_owned)
    }

    #[test]
    fn a_proxy_is_the_one_that_npm_would_take() {
        let (http, https) = ("http://a.example/", "https://a.example/");
        let variables = [("HTTPS_PROXY", "http://s"), ("http_proxy", "http://h"), ("PROXY", "http://p")];
        let both = "proxy=http://1\nhttps-proxy=http://2";
        for (variables, user, url, expected) in [
            (&variables[..0], "", https, None),
            (&variables[..], "", https, Some("http://s")),
            (&variables[..], "", http, Some("http://s")),
            (&variables[1..], "", https, None),
            (&variables[1..], "", http, Some("http://h")),
            (&variables[2..], "", http, Some("http://p")),
            (&variables[..], both, https, Some("http://2")),
            (&variables[..], both, http, Some("http://2")),
            (&variables[..], "proxy=http://1", https, Some("http://1")),
            (&variables[..], "proxy=nonsense", https, Some("http://s")),
            (&variables[..], "proxy=false\nhttps-proxy=null", https, Some("http://s")),
            (&[("https_proxy", "http://1"), ("HTTPS_PROXY", "http://2")], "", https, Some("http://2")),
            (&[("https_proxy", "")], "", https, None),
        ] {
            assert_eq!(proxy(variables, user, url).as_deref(), expected, "{variables:?} {user} {url}");
        }
    }

    #[test]
    fn hosts_and_what_is_below_them_are_reached_without() {
        for (except, host, is_direct) in [
            ("a.example", "a.example", true),
            (".a.example", "a.example", true),
            ("example", "a.example", true),
            ("b.example, a.example", "x.a.example", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("a.example", "ba.example", false),
            ("a.example", "example", false),
            ("*", "a.example", false),
            (".", "a.example", false),
            ("", "a.example", false),
        ] {
            let url = format!("http://{host}:8080/");
            let found = proxy(&[("NO_PROXY", except)], "proxy=http://p", &url);
            assert_eq!(found.is_none(), is_direct, "{except} {host}");
            let user = format!("proxy=http://p\nnoproxy={except}");
            assert_eq!(proxy(&[], &user, &url).is_none(), is_direct, "{except} {host}");
        }
        let list = "proxy=http://p\nnoproxy[]=x.example\nnoproxy[]=a.example";
        assert_eq!(proxy(&[("no_proxy", "b.example")], list, "http://a.example"), None);
        assert!(proxy(&[("no_proxy", "b.example")], list, "http://b.example").is_some());
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_without_its_password() {
        let proxies = Proxies::of(&settings(&[("https_proxy", "socks5://u:hush@h:1")], &[]));
        let error = proxies.checked(&Url::parse("https://a.example").unwrap()).unwrap_err();
        assert_eq!(error, "the proxy socks5://h:1 cannot be used: it must start with http:// or https://");
        assert_eq!(shown("h:8080/"), "h:8080");
    }
}
