//! TLS as npm's settings say.

use std::{env, fs, process::Command, sync::Arc};

use packline_npm::Kind;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use crate::{
    put::document,
    stand::{SOON, Stand, answer, client, settings},
};

/// An authority that no machine knows.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// What it has signed.
struct Signed {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        Signed { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// What a registry at 127.0.0.1 needs; with `clients`, it lets those of this authority in only.
    pub(crate) fn server(&self, clients: bool) -> Arc<ServerConfig> {
        let signed = self.sign("127.0.0.1");
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = match clients {
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(self.certificate.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.unwrap().with_client_cert_verifier(verifier.build().unwrap())
            }
            false => builder.unwrap().with_no_client_auth(),
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.key.serialize_der()));
        Arc::new(builder.with_single_cert(vec![signed.certificate], key).unwrap())
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_says_which_setting_helps() {
    let (authority, other) = (Authority::new(), Authority::new());
    let registry = Stand::with_tls(authority.server(false), |_| answer(404, &[], ""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, format!("{}\r\n{}", other.pem(), authority.pem())).unwrap();
    let file = file.to_str().unwrap();
    let inline = format!("ca={:?}", authority.pem());
    let wrong = format!("ca={:?}", other.pem());
    let helps =
        "name its CA in npm's `cafile` or in NODE_EXTRA_CA_CERTS, or turn the check off with `strict-ssl=false`";
    let only = "only the CAs in npm's `ca` or `cafile` are trusted, and its own must be among them";
    for (user, variables, refused) in [
        ("", &[][..], Some(helps)),
        (wrong.as_str(), &[][..], Some(only)),
        (wrong.as_str(), &[("NODE_EXTRA_CA_CERTS", file)][..], Some(only)),
        (&format!("{wrong}\ncafile=/none"), &[][..], Some("; the cafile /none is not there")),
        (inline.as_str(), &[][..], None),
        (&format!("cafile={file}"), &[][..], None),
        ("", &[("npm_config_cafile", file)][..], None),
        ("", &[("NODE_EXTRA_CA_CERTS", file)][..], None),
        ("strict-ssl=false", &[][..], None),
        ("", &[("NPM_CONFIG_STRICT_SSL", "false")][..], None),
    ] {
        let access = settings(user, variables).access(&registry.url).unwrap();
        let ended = client(&access).look("x", SOON).await;
        let Some(expected) = refused else {
            assert_eq!(ended, Ok(None), "{user} {variables:?}");
            continue;
        };
        let refusal = ended.unwrap_err();
        assert_eq!(refusal.kind, Kind::Unavailable);
        assert!(refusal.message.starts_with(&format!("TLS connection to {} failed: ", registry.url)), "{refusal}");
        assert!(refusal.message.contains(expected), "{refusal}");
    }
}

/// In a process of its own, which takes our authority for one of the machine.
#[tokio::test]
async fn a_ca_that_is_set_replaces_those_of_the_machine() {
    const REGISTRY: &str = "PACKLINE_TEST_TLS_REGISTRY";
    if let Ok(registry) = env::var(REGISTRY) {
        let access = |user: &str| settings(user, &[]).access(&registry).unwrap();
        assert_eq!(client(&access("")).look("x", SOON).await, Ok(None));
        let refusal = client(&access(&format!("ca={:?}", Authority::new().pem()))).look("x", SOON).await.unwrap_err();
        assert!(refusal.message.contains("only the CAs in npm's `ca` or `cafile` are trusted"), "{refusal}");
        return;
    }
    let authority = Authority::new();
    let registry = Stand::with_tls(authority.server(false), |_| answer(404, &[], ""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, authority.pem()).unwrap();
    let mut alone = Command::new(env::current_exe().unwrap());
    alone.args(["--exact", "tls::a_ca_that_is_set_replaces_those_of_the_machine", "--nocapture"]);
    let ended = alone.env(REGISTRY, &registry.url).env("SSL_CERT_FILE", file).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(!registry.seen().is_empty());
}

#[tokio::test]
async fn a_client_certificate_opens_a_registry_that_wants_one() {
    let authority = Authority::new();
    let registry = Stand::with_tls(authority.server(true), |_| answer(201, &[], "{}"));
    let host = registry.url.trim_start_matches("https:");
    let folder = tempfile::tempdir().unwrap();
    let signed = authority.sign("client");
    for (name, text) in [("cert", signed.pem.clone()), ("key", signed.key.serialize_pem()), ("ca", authority.pem())] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let at = folder.path().display();
    let named = format!("{host}/:certfile={at}/cert\n{host}/:keyfile={at}/key");
    let inline = format!("cert={:?}\nkey={:?}", signed.pem, signed.key.serialize_pem());
    let other = format!("//other.example/:certfile={at}/cert\n//other.example/:keyfile={at}/key");
    let (document, _folder) = document("x", b"tarball");
    for (user, is_let_in) in [(named, true), (inline, true), (other, false), (String::new(), false)] {
        let access = settings(&format!("{user}\ncafile={at}/ca"), &[]).access(&registry.url).unwrap();
        let client = client(&access);
        let (look, put) = (client.look("x", SOON).await, client.put(&document, SOON).await);
        if is_let_in {
            assert!(look.is_ok() && put.is_ok(), "{look:?} {put:?}");
            continue;
        }
        let refusal = look.unwrap_err();
        assert!(refusal.message.contains("it may want a client certificate: `certfile` and `keyfile`"), "{refusal}");
        assert_eq!(refusal.kind, Kind::Unavailable);
        assert!(matches!(put.unwrap_err().kind, Kind::Unavailable | Kind::NoAnswer));
    }
}

#[tokio::test]
async fn a_client_certificate_is_not_shown_to_another_host() {
    let authority = Authority::new();
    let other = Stand::with_tls(authority.server(true), |_| answer(200, &[], "{}"));
    let place = other.url.clone();
    let registry = Stand::with_tls(authority.server(true), move |_| answer(302, &[("location", &place)], ""));
    let host = registry.url.trim_start_matches("https:");
    let folder = tempfile::tempdir().unwrap();
    let signed = authority.sign("client");
    fs::write(folder.path().join("cert"), &signed.pem).unwrap();
    fs::write(folder.path().join("key"), signed.key.serialize_pem()).unwrap();
    let at = folder.path().display();
    let user = format!("{host}/:certfile={at}/cert\n{host}/:keyfile={at}/key\nca={:?}", authority.pem());
    let refusal = client(&settings(&user, &[]).access(&registry.url).unwrap()).look("x", SOON).await.unwrap_err();
    assert!(refusal.message.starts_with(&format!("TLS connection to {}", other.url)), "{refusal}");
    assert_eq!(registry.seen().len(), 1);
    assert!(other.seen().is_empty());
}
