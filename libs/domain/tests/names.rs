//! Names are hostile until parsed, and their keys never collide.

use std::collections::HashMap;

use packline_domain::{BuildId, PackageName, record::Key};
use proptest::prelude::*;

const HOSTILE: &[&str] = &[
    "",
    "@",
    "@/",
    "@a",
    "@a/",
    "@/a",
    "../x",
    "..",
    ".",
    "@a/..",
    "@../x",
    "@a/-g",
    "-g",
    "--registry=x",
    "@-a/b",
    ".hidden",
    "_private",
    "@a/_b",
    "@a/.b",
    "a\nb",
    "a b",
    "a\0b",
    "a/b",
    "@a/b/c",
    "@@a/b",
    "a*",
    "a>",
    "a.>",
    "a..b",
    "@a/node_modules",
    "node_modules",
    "Upper",
    "p\u{430}ckage",
    "ａ",
    "a%2f",
    "$JS.API",
    "a;rm",
    "a\\b",
    "a=2Eb",
    "favicon.ico",
];

#[test]
fn hostile_names_are_refused_in_one_line() {
    for name in HOSTILE {
        let error = name.parse::<PackageName>().expect_err(name).to_string();
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    }
    let long = "a".repeat(300);
    let error = long.parse::<PackageName>().unwrap_err().to_string();
    assert!(error.contains("at most 214 bytes") && error.len() < 200, "{error}");
    assert!("a".repeat(214).parse::<PackageName>().is_ok());
}

#[test]
fn keys_are_as_the_contract_writes_them() {
    for (name, key) in
        [("@acme/core", "acme/core"), ("lodash.merge", "lodash=2Emerge"), ("acme", "acme"), ("@a.b/c~d", "a=2Eb/c=7Ed")]
    {
        let parsed: PackageName = name.parse().unwrap();
        assert_eq!(parsed.key(), key);
        assert_eq!(PackageName::from_key(key).unwrap(), parsed);
    }
    for key in ["acme=2fx", "acme=2", "acme.core", "a=61", "=40acme/x", "a/b/c"] {
        assert!(PackageName::from_key(key).is_err(), "{key}");
    }
}

#[test]
fn a_typed_name_may_leave_out_the_at_sign() {
    let name: PackageName = "@acme/core".parse().unwrap();
    assert_eq!(PackageName::from_typed("acme/core").unwrap(), name);
    assert_eq!(PackageName::from_typed("@acme/core").unwrap(), name);
    assert_eq!(PackageName::from_typed("core").unwrap().as_str(), "core");
    assert!(PackageName::from_typed("../x").is_err());
}

fn name() -> impl Strategy<Value = PackageName> {
    ("(@[a-z0-9~][a-z0-9._~-]{0,12}/)?[a-z0-9~][a-z0-9._~-]{0,20}")
        .prop_filter_map("accepted", |text| text.parse::<PackageName>().ok())
}

fn legal_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=/".contains(&b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_accepted_name_has_a_legal_key_of_its_own(names in prop::collection::vec(name(), 1..40)) {
        let mut seen: HashMap<String, PackageName> = HashMap::new();
        for name in names {
            let key = name.key();
            prop_assert!(legal_token(&key), "{key}");
            prop_assert_eq!(&PackageName::from_key(&key).unwrap(), &name);
            if let Some(other) = seen.insert(key, name.clone()) {
                prop_assert_eq!(other, name);
            }
        }
    }

    #[test]
    fn any_text_is_refused_or_is_a_name_that_survives(text in "\\PC{0,30}") {
        if let Ok(name) = text.parse::<PackageName>() {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(legal_token(&name.key()));
            prop_assert!(!name.unscoped().contains('/') && !name.unscoped().starts_with('.'));
        }
    }

    #[test]
    fn build_ids_and_keys_read_back_as_written(name in name(), serial: u64, n: u32) {
        let id = BuildId { package: name.clone(), serial };
        prop_assert_eq!(id.to_string().parse::<BuildId>().unwrap(), id);
        for key in [Key::Queue(name.clone()), Key::Retries(name), Key::Permit(n), Key::Effects(n), Key::Leader] {
            prop_assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
        }
    }
}
