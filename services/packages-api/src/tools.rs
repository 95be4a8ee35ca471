//! The MCP tools of the catalogue.

use std::sync::Arc;

use packline_domain::Package;
use rmcp::{
    ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig},
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    order::dependencies_first,
    store::{Entry, Status, Store, StoreError},
};

/// The most packages in one answer.
const MAX_LIMIT: u32 = 10_000;

/// The longest metadata of a package, in bytes of JSON.
const MAX_METADATA: usize = 64 * 1024;

/// The MCP server: tools over one database.
#[derive(Clone, Debug)]
pub struct Catalogue {
    store: Arc<Store>,
    tool_router: ToolRouter<Self>,
}

/// Which part of the build queue.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct QueueArguments {
    /// The most packages to answer, 1 to 10000
    #[serde(default = "ten")]
    limit: u32,
}

fn ten() -> u32 {
    10
}

/// Which packages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArguments {
    /// Only those with this status: ready, building, published or failed
    status: Option<String>,
    /// Only those whose name comes after this one
    #[serde(default)]
    after: String,
    /// The most packages to answer, 1 to 10000
    #[serde(default = "hundred")]
    limit: u32,
}

fn hundred() -> u32 {
    100
}

/// Which package.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArguments {
    /// Its name, or the id that the catalogue gave it
    id: String,
}

/// A package to add.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AddArguments {
    /// Its npm name, `name` or `@scope/name`
    name: String,
    /// Higher is built first; 0 by default
    priority: Option<i64>,
    /// Names of the packages that must be published before it
    dependencies: Option<Vec<String>>,
    /// Chooses the recipe; `unknown` by default
    category: Option<String>,
}

/// What became of a package.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateArguments {
    /// Its name, or the id that the catalogue gave it
    id: String,
    /// Where it stands now.
    data: UpdateData,
}

/// Where a package stands.
#[derive(Debug, Deserialize, JsonSchema)]
struct UpdateData {
    /// ready, building, published or failed
    status: String,
    /// What is known about it: error, failedPhase, attempts, buildId
    metadata: Option<Map<String, Value>>,
}

#[tool_router]
impl Catalogue {
    /// Tools over `store`.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, tool_router: Self::tool_router() }
    }

    #[tool(
        name = "packages_get_build_queue",
        description = "Packages that are to be built or being built: dependencies first, then by priority"
    )]
    async fn get_build_queue(
        &self,
        Parameters(QueueArguments { limit }): Parameters<QueueArguments>,
    ) -> CallToolResult {
        self.answer(move |store| {
            let entries = dependencies_first(store.unfinished()?, within(limit)? as usize);
            Ok(json!({ "packages": entries.iter().map(summary).collect::<Vec<_>>() }))
        })
        .await
    }

    #[tool(name = "packages_update", description = "Say where a package stands, and why")]
    async fn update(&self, Parameters(UpdateArguments { id, data }): Parameters<UpdateArguments>) -> CallToolResult {
        self.answer(move |store| {
            let status: Status = data.status.parse()?;
            let metadata = data.metadata.filter(|metadata| !metadata.is_empty());
            let bytes = metadata.as_ref().map_or(0, |metadata| json!(metadata).to_string().len());
            if bytes > MAX_METADATA {
                return Err(StoreError::Refused(format!("{bytes} bytes of metadata; at most {MAX_METADATA} are kept")));
            }
            Ok(detail(&store.update(&id, status, metadata.as_ref())?))
        })
        .await
    }

    #[tool(name = "packages_add", description = "Add a package that is to be built")]
    async fn add(&self, Parameters(arguments): Parameters<AddArguments>) -> CallToolResult {
        self.answer(move |store| {
            let AddArguments { name, priority, dependencies, category } = arguments;
            let described =
                json!({ "name": name, "priority": priority, "dependencies": dependencies, "category": category });
            Ok(detail(&store.add(&Package::parse(&described).map_err(StoreError::Refused)?)?))
        })
        .await
    }

    #[tool(name = "packages_get", description = "One package, with what was last said about it")]
    async fn get(&self, Parameters(GetArguments { id }): Parameters<GetArguments>) -> CallToolResult {
        self.answer(move |store| Ok(detail(&store.get(&id)?))).await
    }

    #[tool(name = "packages_list", description = "Packages in the order of their names, whatever their status")]
    async fn list(&self, Parameters(arguments): Parameters<ListArguments>) -> CallToolResult {
        self.answer(move |store| {
            let status = arguments.status.as_deref().map(str::parse).transpose()?;
            let entries = store.list(status, &arguments.after, within(arguments.limit)?)?;
            Ok(json!({ "packages": entries.iter().map(detail).collect::<Vec<_>>() }))
        })
        .await
    }

    /// Asks the database beside the runtime, where waiting for another writer holds up nobody.
    async fn answer<F>(&self, ask: F) -> CallToolResult
    where
        F: FnOnce(&Store) -> Result<Value, StoreError> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || ask(&store)).await {
            Ok(Ok(value)) => CallToolResult::structured(value),
            Ok(Err(error)) => refusal(&error.to_string()),
            Err(error) => refusal(&format!("the catalogue failed: {error}")),
        }
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Catalogue {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("packages-api", env!("CARGO_PKG_VERSION")))
            .with_instructions("A catalogue of packages to be built, and of what became of them")
    }
}

fn refusal(line: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(line)])
}

fn within(limit: u32) -> Result<u32, StoreError> {
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(StoreError::Refused(format!("`limit` is a whole number from 1 to {MAX_LIMIT}, not {limit}")))
    }
}

fn summary(entry: &Entry) -> Value {
    let Package { name, priority, dependencies, id, category, .. } = &entry.package;
    json!({
        "id": id,
        "name": name,
        "priority": priority,
        "dependencies": dependencies,
        "category": category,
        "status": entry.status.as_str(),
    })
}

fn detail(entry: &Entry) -> Value {
    let mut value = summary(entry);
    if let (Some(fields), Some(metadata)) = (value.as_object_mut(), &entry.metadata) {
        fields.insert("metadata".into(), Value::Object(metadata.clone()));
    }
    value
}
