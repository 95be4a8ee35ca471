use reqwest::header::{HeaderName, HeaderValue};

use super::*;

const NOW: &str = "2026-11-30T12:00:00Z";

struct Case<'a> {
    asked: Asked<'a>,
    access: Access,
}

fn put() -> Case<'static> {
    Case {
        asked: Asked::Put { what: "@acme/x@1.0.0", size: 70_000_000 },
        access: Access::open("https://h").with_token("s3cret"),
    }
}

impl Case<'_> {
    fn answered(&self, status: u16, headers: &[(&str, &str)], body: &str) -> Refusal {
        let entries = headers
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()));
        let headers = entries.collect();
        let (asked, access, now) = (self.asked, &self.access, NOW.parse().unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        Answer { asked, access, host: "https://h", status, headers: &headers, body: body.as_bytes(), now }.refusal()
    }
}

#[test]
fn what_somebody_has_to_change_is_permanent_and_named() {
    let second = "https://h wants a second factor to publish @acme/x@1.0.0: \
                  use a token that can publish without one";
    let otp = [("www-authenticate", "OTP")];
    for (status, headers, body, expected) in [
        (401, &[][..], r#"{"error":"bad"}"#, "https://h does not accept the token that is set for it (401: bad)"),
        (401, &otp[..], "", &format!("{second} (401)")),
        (401, &[("www-authenticate", "Basic, otp")][..], "", &format!("{second} (401)")),
        (
            401,
            &[][..],
            "You must provide a one-time pass",
            &format!("{second} (401: You must provide a one-time pass)"),
        ),
        (403, &[][..], r#"{"error":"Two-factor is wanted"}"#, &format!("{second} (403: Two-factor is wanted)")),
        (
            401,
            &[("www-authenticate", "ipaddress")][..],
            "",
            "https://h does not accept the token from the address of this machine (401)",
        ),
        (402, &[][..], "", "https://h wants a paid plan for @acme/x@1.0.0 (402)"),
        (403, &[][..], "no", "https://h does not let this token publish @acme/x@1.0.0 (403: no)"),
        (400, &[][..], r#"{"reason":"bad tag"}"#, "https://h rejects @acme/x@1.0.0 (400: bad tag)"),
        (422, &[][..], r#"{"message":"bad name"}"#, "https://h rejects @acme/x@1.0.0 (422: bad name)"),
        (
            307,
            &[("location", "https://u:p@other.example/x?token=1")][..],
            "",
            "https://h redirects @acme/x@1.0.0 to https://other.example/x; set the registry to that address (307)",
        ),
    ] {
        let refusal = put().answered(status, headers, body);
        assert_eq!(refusal, Refusal::permanent(expected), "{status} {body}");
    }
}

#[test]
fn a_token_that_is_not_set_is_what_is_missing() {
    let mut case = put();
    case.access = Access::open("https://h");
    case.access.hints.push("the variable T in npm's settings is not set".into());
    for status in [401, 403] {
        let expected = format!(
            "https://h wants a token for @acme/x@1.0.0, and none is set for this registry; \
             the variable T in npm's settings is not set ({status}: no)"
        );
        assert_eq!(case.answered(status, &[], "no"), Refusal::permanent(expected));
    }
}

#[test]
fn a_version_that_may_be_there_is_looked_for() {
    for (status, body, kind) in [
        (409, "", Kind::Exists),
        (409, r#"{"error":"this package is already present"}"#, Kind::Exists),
        (403, r#"{"error":"You cannot publish over the previously published versions: 1.0.0."}"#, Kind::Taken),
        (403, r#"{"error":"Cannot modify pre-existing version"}"#, Kind::Taken),
        (400, "Repository does not allow updating assets: npm", Kind::Taken),
    ] {
        assert_eq!(put().answered(status, &[], body).kind, kind, "{status} {body}");
    }
}

#[test]
fn a_busy_registry_is_left_alone_for_as_long_as_it_says() {
    for (told, seconds) in [
        (Some("7"), Some(7)),
        (Some(" 120 "), Some(120)),
        (Some("Mon, 30 Nov 2026 12:01:30 GMT"), Some(90)),
        (Some("Mon, 30 Nov 2026 11:00:00 GMT"), Some(0)),
        (Some("-1"), None),
        (Some("soon"), None),
        (None, None),
    ] {
        let headers: Vec<_> = told.iter().map(|&told| ("retry-after", told)).collect();
        let refusal = put().answered(429, &headers, "");
        assert_eq!(refusal.kind, Kind::Busy { wait: seconds.map(Duration::from_secs) }, "{told:?}");
    }
    let refusal = put().answered(403, &[("retry-after", "7")], "secondary rate limit");
    assert_eq!(refusal.kind, Kind::Busy { wait: Some(Duration::from_secs(7)) });
    let expected = "https://h limits the rate of requests: retry after 7 s (403: secondary rate limit)";
    assert_eq!(refusal.message, expected);
}

#[test]
fn a_registry_that_does_not_work_is_no_fault_of_the_package() {
    for status in [407, 408, 425, 500, 501, 502, 503, 504, 599] {
        assert_eq!(put().answered(status, &[], "").kind, Kind::Unavailable, "{status}");
    }
    for (status, body, expected) in [
        (
            404,
            "<html>",
            "https://h rejects @acme/x@1.0.0: there is no registry at this address, or the token may not \
             publish there (404)",
        ),
        (413, "", "https://h rejects @acme/x@1.0.0: a request of 70000000 bytes is too large (413)"),
    ] {
        assert_eq!(put().answered(status, &[], body), Refusal::unavailable(expected));
    }
    assert_eq!(put().answered(503, &[], "down").message, "https://h failed with status 503 (503: down)");
}

#[test]
fn what_is_read_is_not_what_is_published() {
    let mut case = put();
    case.asked = Asked::Look("x");
    assert_eq!(case.answered(404, &[], "").message, "https://h does not have x (404)");
    assert_eq!(case.answered(403, &[], "").message, "https://h does not let this token read x (403)");
    let message = "https://h redirects x to http://other.example/ (302)";
    assert_eq!(case.answered(302, &[("location", "http://other.example/")], "").message, message);
    assert_eq!(case.answered(413, &[], "").message, "https://h says that the request for x is too large (413)");
}

#[test]
fn a_registry_that_repeats_the_token_does_not_show_it() {
    for body in [r#"{"error":"bad token s3cret"}"#, "s3cret is no token"] {
        let message = put().answered(401, &[], body).message;
        assert!(!message.contains("s3cret") && message.contains("***"), "{message}");
    }
    let access = Access::open("https://h").with_token("s3cret");
    let refusal = Refusal::new(Kind::Busy { wait: Some(Duration::from_millis(1500)) }, "m");
    let sent = serde_json::to_string(&refusal).unwrap();
    assert_eq!(serde_json::from_str::<Refusal>(&sent).unwrap(), refusal);
    assert_eq!(access.registry(), "https://h");
}

#[test]
fn half_a_token_is_said_no_more_than_a_whole_one() {
    let said = format!("{} s3cret-and-long", "x".repeat(295));
    let refusal =
        Case { access: Access::open("https://h").with_token("s3cret-and-long"), ..put() }.answered(400, &[], &said);
    assert!(!refusal.message.contains("s3c"), "{refusal}");
}
