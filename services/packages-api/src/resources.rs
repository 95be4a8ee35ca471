//! The catalogue as MCP resources: what a client shows or reads without calling a tool.

use percent_encoding::percent_decode_str;
use rmcp::model::{CompletionInfo, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{
    answer::{counted, detail, listed, queue},
    store::{Status, Store, StoreError, shown},
};

const QUEUE: &str = "packages://queue";
const LIST: &str = "packages://list";
const LIST_TEMPLATE: &str = "packages://list{?status,after}";
const PACKAGE_TEMPLATE: &str = "packages://package/{+name}";
const JSON: &str = "application/json";

/// Packages in one resource.
const SHOWN: u32 = 100;

/// Resources that are always there.
pub(crate) fn fixed() -> Vec<Resource> {
    [
        (QUEUE, "queue", "What is built next: dependencies first, then by priority"),
        (LIST, "list", "How many packages have each status, and the first of them in the order of their names"),
    ]
    .map(|(uri, name, what)| Resource::new(uri, name).with_description(what).with_mime_type(JSON))
    .into()
}

/// Resources that depend on what is asked.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    [
        (LIST_TEMPLATE, "list", "Packages of one status, after a name; `next` is the URI of those that follow"),
        (PACKAGE_TEMPLATE, "package", "One package, with what was last said about it"),
    ]
    .map(|(uri, name, what)| ResourceTemplate::new(uri, name).with_description(what).with_mime_type(JSON))
    .into()
}

/// What a resource holds.
///
/// # Errors
/// When there is no such resource.
pub(crate) fn read(store: &Store, uri: &str) -> Result<Value, StoreError> {
    let unknown = || {
        let uri = shown(uri);
        StoreError::Refused(format!(
            "`{uri}` is no resource; there are {QUEUE}, {LIST_TEMPLATE} and {PACKAGE_TEMPLATE}"
        ))
    };
    let parsed = Url::parse(uri).map_err(|_| unknown())?;
    let path = parsed.path().trim_start_matches('/');
    match (parsed.scheme(), parsed.host_str(), path.is_empty()) {
        ("packages", Some("queue"), true) => queue(store, SHOWN),
        ("packages", Some("list"), true) => list(store, &parsed),
        ("packages", Some("package"), false) => {
            let name = percent_decode_str(path).decode_utf8().map_err(|_| unknown())?;
            Ok(detail(&store.get(&name)?))
        }
        _ => Err(unknown()),
    }
}

fn list(store: &Store, uri: &Url) -> Result<Value, StoreError> {
    let asked = |wanted: &str| {
        let value = uri.query_pairs().find(|(key, _)| key == wanted).map(|(_, value)| value.into_owned());
        value.filter(|value| !value.is_empty())
    };
    let status: Option<Status> = asked("status").map(|status| status.parse()).transpose()?;
    let mut found = listed(store, status, &asked("after").unwrap_or_default(), SHOWN)?;
    if let Some(fields) = found.as_object_mut() {
        if let Some(Value::String(after)) = fields.get("next") {
            let wishes = status.iter().map(|status| ("status", status.as_str())).chain([("after", after.as_str())]);
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(wishes).finish();
            fields.insert("next".into(), format!("{LIST}?{query}").into());
        }
        fields.insert("counts".into(), counted(store.counts()?));
    }
    Ok(found)
}

/// A resource as a client gets it.
pub(crate) fn answer(uri: String, value: &Value) -> ReadResourceResult {
    ReadResourceResult::new(vec![ResourceContents::text(value.to_string(), uri).with_mime_type(JSON)])
}

/// What an argument of a template could become.
///
/// # Errors
/// When the database fails.
pub(crate) fn complete(store: &Store, argument: &str, value: &str) -> Result<CompletionInfo, StoreError> {
    let most = CompletionInfo::MAX_VALUES;
    let mut values: Vec<String> = match argument {
        "status" => Status::ALL.iter().map(Status::to_string).filter(|status| status.starts_with(value)).collect(),
        "name" | "after" => {
            let names = store.names(value, u32::try_from(most + 1).unwrap_or(u32::MAX))?;
            names.iter().map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    };
    let more = values.len() > most;
    values.truncate(most);
    CompletionInfo::with_pagination(values, None, more).map_err(StoreError::Refused)
}
