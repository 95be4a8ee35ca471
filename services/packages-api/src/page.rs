//! The page for people: which packages there are, and where they stand.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};
use packline_domain::{phase::Tests, text::published};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::store::{Counts, Entry, Mark, Status, Store, StoreError};

/// Packages on one page.
const SHOWN: u32 = 100;

/// Characters of an error that are shown.
const SHOWN_ERROR: usize = 300;

/// Nothing from elsewhere, and no script at all.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
body { max-width: 75rem; margin: 1.5rem auto; padding: 0 1rem }
nav a, .mark { margin-right: 1rem }
a[aria-current] { font-weight: bold; text-decoration: none; color: inherit }
table { border-collapse: collapse; width: 100%; margin-top: 1rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884 }
td.number, th.number { text-align: right }
.failed { color: #c22 } .published { color: #283 } .building { color: #06c }
.note { overflow-wrap: anywhere; white-space: pre-wrap }
";

/// What somebody wants to see.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    status: String,
    name: String,
    after: String,
}

/// Answers `GET /`.
pub(crate) async fn show(State(store): State<Arc<Store>>, Query(wanted): Query<Wanted>) -> Response {
    let drawn = tokio::task::spawn_blocking(move || draw(&store, &wanted)).await;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let unable = StatusCode::INTERNAL_SERVER_ERROR;
    match drawn {
        Ok(Ok(page)) => (headers, Html(page.into_string())).into_response(),
        Ok(Err(StoreError::Refused(line))) => (StatusCode::BAD_REQUEST, headers, line).into_response(),
        Ok(Err(error)) => (unable, headers, error.to_string()).into_response(),
        Err(error) => (unable, headers, format!("the page failed: {error}")).into_response(),
    }
}

fn draw(store: &Store, wanted: &Wanted) -> Result<Markup, StoreError> {
    let status = given(&wanted.status).map(str::parse).transpose()?;
    let mark = given(&wanted.after).map_or(Ok(Mark::NEWEST), str::parse)?;
    let mut entries = store.newest(status, wanted.name.trim(), mark, SHOWN + 1)?;
    let more = entries.len() > SHOWN as usize;
    entries.truncate(SHOWN as usize);
    let next = entries.last().filter(|_| more).map(Mark::of);
    Ok(page(store.counts()?, status, wanted.name.trim(), &entries, next))
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn page(counts: Counts, status: Option<Status>, name: &str, entries: &[Entry], next: Option<Mark>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Packages" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Packages" }
                nav {
                    a href=(link(None, name, None)) aria-current=[status.is_none().then_some("page")] {
                        "all " (counts.all())
                    }
                    @for one in Status::ALL {
                        a href=(link(Some(one), name, None)) aria-current=[(status == Some(one)).then_some("page")] {
                            (one.as_str()) " " (counts.of(one))
                        }
                    }
                }
                form {
                    @if let Some(status) = status { input type="hidden" name="status" value=(status.as_str()); }
                    p {
                        label { "Name contains " input type="search" name="name" value=(name); }
                        " " button { "Show" }
                    }
                }
                @if entries.is_empty() {
                    p {
                        @if counts.all() == 0 {
                            "There are no packages yet. " code { "packages-api scan DIR" } " takes them from an npm "
                            "workspace, the tool " code { "packages_add" } " adds one."
                        } @else { "No package is like that." }
                    }
                } @else {
                    (table(entries))
                }
                @if let Some(next) = next {
                    p { a href=(link(status, name, Some(next))) rel="next" { "Earlier changes" } }
                }
            }
        }
    }
}

fn table(entries: &[Entry]) -> Markup {
    html! {
        table {
            thead { tr {
                th { "Package" } th { "Status" } th { "Since" } th.number { "Priority" } th { "Category" }
                th { "What was said" }
            } }
            tbody {
                @for entry in entries {
                    tr {
                        td { (entry.package.name) }
                        td class=(entry.status.as_str()) { (status(entry)) }
                        td { @if let Some(at) = entry.changed_at { time datetime=(at) { (at.to_string().get(..19).unwrap_or_default().replace('T', " ")) } } }
                        td.number { (entry.package.priority) }
                        td.note { (entry.package.category) }
                        td.note { @if let Some(metadata) = &entry.metadata { (said(metadata)) } }
                    }
                }
            }
        }
        p { "Times are UTC." }
    }
}

/// The status, for people: the catalogue counts a private package that was built as published.
fn status(entry: &Entry) -> &'static str {
    match entry.status {
        Status::Published => published(entry.is_private()),
        Status::Ready | Status::Building | Status::Failed => entry.status.as_str(),
    }
}

/// What was said with the last status, in one line.
fn said(metadata: &Map<String, Value>) -> String {
    let text = |field: &str| match metadata.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    let mut error: String = text("error").unwrap_or_default();
    if let Some((at, _)) = error.char_indices().nth(SHOWN_ERROR) {
        error.truncate(at);
        error.push('…');
    }
    let tests = metadata.get("tests").and_then(|tests| Tests::deserialize(tests).ok());
    let rest = [("failedPhase", "in "), ("attempts", "attempts: "), ("buildId", "build ")];
    let rest = rest.into_iter().filter_map(|(field, word)| Some(format!("{word}{}", text(field)?)));
    let first = given(&error).map(str::to_owned).into_iter().chain(tests.map(|tests| tests.to_string()));
    first.chain(rest).collect::<Vec<_>>().join(" · ")
}

/// The page with these wishes.
fn link(status: Option<Status>, name: &str, after: Option<Mark>) -> String {
    let status = status.map(|status| status.to_string());
    let after = after.map(|mark| mark.to_string());
    let wishes = [("status", status.as_deref()), ("name", given(name)), ("after", after.as_deref())];
    let wishes = wishes.into_iter().filter_map(|(wish, value)| Some((wish, value?)));
    format!("?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(wishes).finish())
}
