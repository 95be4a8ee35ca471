//! The catalogue's two tools: what is to be built, and what became of it.

use std::time::Duration;

use packline_domain::PackageStatus;
use packline_service::{Shutdown, Unusable};
use rmcp::model::CallToolResult;
use serde_json::{Map, Value};

use crate::{
    config::{Config, Endpoint, MAX_LIMIT, UpdateId},
    report,
    session::{CallError, Caller, Session},
};

/// The catalogue, reached anew for each poll and each burst of reports.
#[derive(Clone, Debug)]
pub struct Catalogue {
    endpoint: Endpoint,
    queue_tool: String,
    update_tool: String,
    update_id: UpdateId,
    first_limit: u32,
    patience: Duration,
}

impl Catalogue {
    /// As the settings say; nothing is started yet.
    ///
    /// # Errors
    /// When the settings name no catalogue.
    pub fn new(config: &Config) -> Result<Self, Unusable> {
        Ok(Self {
            endpoint: config.endpoint()?,
            queue_tool: config.mcp_queue_tool.clone(),
            update_tool: config.mcp_update_tool.clone(),
            update_id: config.mcp_update_id,
            first_limit: config.poll_limit,
            patience: config.mcp_timeout,
        })
    }

    /// The tool that names what is to be built.
    pub fn queue_tool(&self) -> &str {
        &self.queue_tool
    }

    /// Begins a session.
    ///
    /// # Errors
    /// When the catalogue is not there, or does not speak MCP.
    pub async fn open(&self) -> Result<Session, CallError> {
        Session::open(&self.endpoint, self.patience).await
    }

    /// All that is to be built, in a session of its own. While an answer is full, twice as many are asked for; where
    /// the catalogue refuses so many, the last answer is what there is.
    ///
    /// # Errors
    /// When there is no answer, none that is one, or it was asked to stop.
    pub async fn queue(&self, shutdown: &Shutdown) -> Result<Vec<Value>, CallError> {
        let session = tokio::select! {
            session = self.open() => session?,
            () = shutdown.requested() => return Err(CallError::Broken("asked to stop".into())),
        };
        let answer = tokio::select! {
            answer = self.ask(session.caller()) => answer,
            () = shutdown.requested() => Err(CallError::Broken("asked to stop".into())),
        };
        session.close().await;
        answer
    }

    async fn ask(&self, caller: Caller) -> Result<Vec<Value>, CallError> {
        let mut limit = self.first_limit;
        let mut fewer: Option<Vec<Value>> = None;
        loop {
            let arguments = Map::from_iter([("limit".to_owned(), limit.into())]);
            let answer = match (caller.call(&self.queue_tool, arguments).await, fewer.take()) {
                (Err(CallError::Refused(why)), Some(fewer)) => {
                    tracing::warn!("the catalogue names {} packages and refuses {limit}: {why}", fewer.len());
                    return Ok(fewer);
                }
                (answer, _) => answer?,
            };
            let items = packages_of(&answer).map_err(CallError::Failed)?;
            let full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            if !full || limit >= MAX_LIMIT {
                return Ok(items);
            }
            fewer = Some(items);
            limit = limit.saturating_mul(2).min(MAX_LIMIT);
        }
    }

    /// Says where a package stands.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn update(&self, caller: &Caller, status: &PackageStatus) -> Result<(), CallError> {
        caller.call(&self.update_tool, report::arguments(status, self.update_id)).await.map(|_| ())
    }
}

/// The packages in an answer of the queue tool: in the structured content, else as JSON in the first text
/// block. Servers that know text alone wrap it as `{"result": "<the text>"}`.
///
/// # Errors
/// When there are none, not even an empty array: that is no answer.
pub fn packages_of(answer: &CallToolResult) -> Result<Vec<Value>, String> {
    let structured = answer.structured_content.as_ref();
    if let Some(found) = structured.and_then(packages) {
        return Ok(found);
    }
    let block = answer.content.iter().find_map(|block| block.as_text()).map(|text| text.text.as_str());
    let wrapped = structured.and_then(|content| content.get("result")).and_then(Value::as_str);
    let Some(text) = block.or(wrapped) else {
        return Err("its answer has neither structured content with `packages` nor text".into());
    };
    let value = packline_json::parse(text.as_bytes()).map_err(|error| format!("its answer is not JSON: {error}"))?;
    packages(&value).ok_or_else(|| "its answer has no array `packages`".to_owned())
}

fn packages(value: &Value) -> Option<Vec<Value>> {
    value.get("packages")?.as_array().cloned()
}

#[cfg(test)]
mod tests {
    use rmcp::model::ContentBlock;
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::text(text)])
    }

    #[test]
    fn structured_content_is_read_first() {
        let mut answer = CallToolResult::structured(json!({"packages": [{"name": "a"}]}));
        answer.content = vec![ContentBlock::text("for people")];
        assert_eq!(packages_of(&answer), Ok(vec![json!({"name": "a"})]));
    }

    #[test]
    fn json_in_the_first_text_block_is_read_where_nothing_is_structured() {
        assert_eq!(packages_of(&text(r#"{"packages": [{"name": "a"}]}"#)), Ok(vec![json!({"name": "a"})]));
    }

    #[test]
    fn text_that_a_server_wrapped_as_its_result_is_read() {
        let inner = r#"{"packages": [{"name": "a"}]}"#;
        let mut answer = text(inner);
        answer.structured_content = Some(json!({ "result": inner }));
        assert_eq!(packages_of(&answer), Ok(vec![json!({"name": "a"})]));
        answer.content.clear();
        assert_eq!(packages_of(&answer), Ok(vec![json!({"name": "a"})]));
    }

    #[test]
    fn an_empty_array_is_an_answer() {
        assert_eq!(packages_of(&text(r#"{"packages": []}"#)), Ok(vec![]));
    }

    #[test]
    fn rubbish_is_no_empty_answer() {
        for answer in [
            text(""),
            text("no packages today"),
            text("[]"),
            text(r#"{"packages": null}"#),
            text(r#"{"packages": {}}"#),
            CallToolResult::success(vec![]),
            CallToolResult::structured(json!({"result": "none"})),
        ] {
            let refused = packages_of(&answer).unwrap_err();
            assert!(refused.starts_with("its answer ") && !refused.contains('\n'), "{refused}");
        }
    }
}
