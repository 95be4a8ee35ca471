use std::io;

use super::*;
use crate::settings::tests::settings;

const USER: &str = "/home/u/.npmrc";

fn header(text: &str, registry: &str) -> Option<String> {
    let access = settings(&[], &[(USER, text)]).access(registry).unwrap();
    access.authorization.map(|authorization| authorization.header())
}

#[test]
fn a_registry_is_opened_by_what_is_set_for_it_or_above_it() {
    let bearer = Some("Bearer abc".to_owned());
    for (key, registry, expected) in [
        ("//a.example/", "https://a.example", &bearer),
        ("//a.example", "https://a.example/", &bearer),
        ("//a.example/", "http://a.example/deeper/down/", &bearer),
        ("//a.example/npm/ours/", "https://a.example/npm/ours", &bearer),
        ("//a.example/npm/ours", "https://a.example/npm/ours", &bearer),
        ("//a.example/npm/", "https://a.example/npm/ours", &bearer),
        ("//a.example:8080/", "http://a.example:8080/", &bearer),
        ("//a.example/", "https://a.example:443/", &bearer),
        ("//a.example/", "https://A.example/", &bearer),
        ("//a.example:443/", "https://a.example/", &None),
        ("//a.example:8080/", "http://a.example/", &None),
        ("//a.example/npm/ours/", "https://a.example/npm/", &None),
        ("//a.example/np", "https://a.example/npm", &None),
        ("//a.example/", "https://b.a.example/", &None),
        ("//example/", "https://a.example/", &None),
        ("https://a.example/", "https://a.example/", &None),
        ("//a.example/", "nonsense", &None),
    ] {
        assert_eq!(header(&format!("{key}:_authToken=abc"), registry), *expected, "{key} {registry}");
    }
}

#[test]
fn what_is_nearest_counts_and_of_that_the_token_first() {
    let text = "//h/:_authToken=far\n//h/npm/:_auth=bmVhcg==\n";
    assert_eq!(header(text, "https://h/npm/").as_deref(), Some("Basic bmVhcg=="));
    assert_eq!(header(text, "https://h/").as_deref(), Some("Bearer far"));
    let login = "//h/:username=me\n//h/:_password=c2VjcmV0OnBhc3M\n";
    assert_eq!(header(login, "https://h/").as_deref(), Some("Basic bWU6c2VjcmV0OnBhc3M="));
    assert_eq!(header(&format!("{login}//h/:_auth=eDp5"), "https://h/").as_deref(), Some("Basic eDp5"));
    assert_eq!(header(&format!("{login}//h/:_authToken=t"), "https://h/").as_deref(), Some("Bearer t"));
    assert_eq!(header("//h/:username=me", "https://h/"), None);
    assert_eq!(header("//h/:_authToken=", "https://h/"), None);
    assert_eq!(header("", "https://me:pa%20ss@h/").as_deref(), Some("Basic bWU6cGEgc3M="));
}

#[test]
fn what_has_no_registry_in_front_opens_none() {
    let text = "_authToken=abc\n_auth=abc\nusername=me\n_password=abc";
    let access = settings(&[("npm_config__auth", "abc")], &[(USER, text)]).access(crate::DEFAULT_REGISTRY).unwrap();
    assert!(!access.has_credentials());
    assert_eq!(access.hints, ["`_authToken` without a registry in front is sent to none, as by npm"]);
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let settings = settings(&[], &[(USER, "//h/:_authToken=${NPM_TOKEN}")]);
    let access = settings.access("https://h").unwrap();
    assert_eq!(access.hints, ["the variable NPM_TOKEN in npm's settings is not set"]);
    assert_eq!(access.with_token("t").hints, [""; 0]);
}

#[test]
fn a_token_is_one_word() {
    let header = |token: &str| Access::open("https://h").with_token(token).authorization.map(|found| found.header());
    assert_eq!(header(" ab\nc\u{e9}\u{7f}d \r\n").as_deref(), Some("Bearer abcd"));
    assert_eq!(header(" \n"), None);
}

#[test]
fn certificates_come_from_settings_and_files() {
    let files = [
        (USER, "ca[]=\"one\\ntwo\"\nca[]=three\ncert=c\\nc\nkey=k\n//h/:certfile=/c\n//h/:keyfile=~/k\n"),
        ("/c", "certificate"),
        ("/home/u/k", "private"),
        ("/cas", "others"),
        ("/extra", "extra"),
    ];
    let read = |variables: &[(&str, &str)], registry: &str| {
        let settings = settings(variables, &files);
        let files = |path: &Path| {
            Ok(files.iter().find(|(known, _)| path == Path::new(known)).map(|(_, text)| (*text).to_owned()))
        };
        settings.access_by(registry, &files).unwrap()
    };
    let access = read(&[("NODE_EXTRA_CA_CERTS", "/extra")], "https://h");
    assert_eq!(access.roots, Some(vec!["one\ntwo".to_owned(), "three".to_owned()]));
    assert_eq!(access.extra_roots.as_deref(), Some("extra"));
    let identity = |certificate: &str, key: &str| Some(Identity { certificate: certificate.into(), key: key.into() });
    assert!(access.identity == identity("certificate", "private"));
    assert!(access.has_credentials() && access.hints.is_empty());
    assert!(read(&[], "https://other").identity == identity("c\nc", "k"));
    assert_eq!(read(&[("npm_config_cafile", "/cas")], "https://h").roots, Some(vec!["others".to_owned()]));
    let missing = read(&[("npm_config_cafile", "/none")], "https://h");
    assert_eq!(missing.hints, ["the cafile /none is not there"]);
    assert!(missing.roots.is_some(), "what counts less stays");
    assert_eq!(read(&[("npm_config_ca", "a\n\nb")], "https://h").roots, Some(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_certificate_that_cannot_be_read_is_said() {
    let settings = settings(&[], &[(USER, "//h/:certfile=/c\n//h/:keyfile=/k")]);
    let refused = |_: &Path| Err(io::Error::from(io::ErrorKind::PermissionDenied));
    let error = settings.access_by("https://h", &refused).unwrap_err().to_string();
    assert_eq!(error, "the certfile /c cannot be read: permission denied");
}

#[test]
fn strict_ssl_is_off_where_npm_has_it_off() {
    for (value, is_strict) in
        [("false", false), ("0", false), ("true", true), ("", true), ("null", true), ("1", true), ("no", true)]
    {
        let access = settings(&[], &[(USER, &format!("strict-ssl={value}"))]).access("https://h").unwrap();
        assert_eq!(access.strict_ssl, is_strict, "{value}");
    }
}

#[test]
fn no_secret_is_shown() {
    let text = "//h/:username=me\n//h/:_password=c2VjcmV0OnBhc3M=\nproxy=http://u:hu%21sh@p:1/\nkey=hidden\ncert=c";
    let access = settings(&[], &[(USER, text)]).access("https://h").unwrap();
    let secrets =
        ["bWU6c2VjcmV0OnBhc3M=", "c2VjcmV0OnBhc3M=", "me:secret:pass", "secret:pass", "dTpodSFzaA==", "hu!sh"];
    let shown = format!("{access:?}");
    for secret in secrets {
        assert!(access.secrets().iter().any(|known| known == secret), "{secret}");
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!shown.contains("hidden") && shown.contains("http://p:1"), "{shown}");
    assert_eq!(access.blank("a secret:pass".into()), "a ***");
    let token = Access::open("https://me:hush@h").with_token("t0ken");
    assert_eq!(token.secrets(), ["t0ken"]);
    assert!(!format!("{token:?}").contains("hush"));
}

#[test]
fn an_access_goes_through_a_pipe() {
    let text = "//h/:_authToken=abc\nca=x\ncert=c\nkey=k\nproxy=http://p\nnoproxy=a,b\nstrict-ssl=false\ncafile=/none";
    let access = settings(&[("NODE_EXTRA_CA_CERTS", "/none")], &[(USER, text)]).access("https://h").unwrap();
    let sent = serde_json::to_string(&access).unwrap();
    assert_eq!(serde_json::from_str::<Access>(&sent).unwrap(), access);
}

#[test]
fn all_that_opens_anything_is_known_as_a_secret() {
    let text = "//a/:_authToken=t0ken-of-a\n//b/:_auth=dXNlcjpwYXNz\n//c/:username=me\n//c/:_password=b2YtYw\n\
                _authToken=t0ken-of-none\n@acme:registry=https://me:hush@d/\nproxy=http://u:hu%21sh@p:1/\nkey=x";
    let found = settings(&[("npm_config_//e/:_authToken", "t0ken-of-e")], &[(USER, text)]).secrets();
    for secret in [
        "t0ken-of-a",
        "dXNlcjpwYXNz",
        "user:pass",
        "pass",
        "b2YtYw",
        "b2YtYw==",
        "of-c",
        "me:of-c",
        "t0ken-of-none",
        "hush",
        "hu!sh",
        "t0ken-of-e",
    ] {
        assert!(found.iter().any(|known| known == secret), "{secret} in {found:?}");
    }
    assert!(!found.iter().any(|known| ["me", "x", ""].contains(&known.as_str())), "{found:?}");
}
