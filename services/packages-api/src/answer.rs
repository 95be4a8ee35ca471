//! What tools and resources answer, as JSON.

use packline_domain::Package;
use serde_json::{Value, json};

use crate::{
    order::dependencies_first,
    store::{Counts, Entry, Status, Store, StoreError},
};

/// The first `limit` packages of the build queue.
pub(crate) fn queue(store: &Store, limit: u32) -> Result<Value, StoreError> {
    let entries = dependencies_first(store.unfinished()?, limit as usize);
    Ok(json!({ "packages": entries.iter().map(summary).collect::<Vec<_>>() }))
}

/// At most `limit` packages after the name `after`, and after which name there are more.
pub(crate) fn listed(store: &Store, status: Option<Status>, after: &str, limit: u32) -> Result<Value, StoreError> {
    let mut entries = store.list(status, after, limit.saturating_add(1))?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let mut answer = json!({ "packages": entries.iter().map(detail).collect::<Vec<_>>() });
    if let (true, Some(last), Some(fields)) = (more, entries.last(), answer.as_object_mut()) {
        fields.insert("next".into(), last.package.name.as_str().into());
    }
    Ok(answer)
}

/// How many packages have each status.
pub(crate) fn counted(counts: Counts) -> Value {
    Status::ALL.into_iter().map(|status| (status.to_string(), Value::from(counts.of(status)))).collect()
}

fn summary(entry: &Entry) -> Value {
    let Package { name, priority, dependencies, build_after, id, category, path, .. } = &entry.package;
    let mut value = json!({
        "id": id,
        "name": name,
        "priority": priority,
        "dependencies": dependencies,
        "category": category,
        "status": entry.status.as_str(),
    });
    if let Some(fields) = value.as_object_mut() {
        if let Some(path) = path {
            fields.insert("path".into(), path.as_str().into());
        }
        if !build_after.is_empty() {
            fields.insert("buildAfter".into(), json!(build_after));
        }
    }
    value
}

/// A package, with what was last said about it.
pub(crate) fn detail(entry: &Entry) -> Value {
    let mut value = summary(entry);
    if let (Some(fields), Some(metadata)) = (value.as_object_mut(), &entry.metadata) {
        fields.insert("metadata".into(), Value::Object(metadata.clone()));
    }
    if let (Some(fields), Some(at)) = (value.as_object_mut(), entry.changed_at) {
        fields.insert("changedAt".into(), at.to_string().into());
    }
    value
}
