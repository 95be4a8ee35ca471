//! The MCP server of the catalogue, and its tools.

use std::sync::Arc;

use packline_domain::Package;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{
        CallToolResult, CompleteRequestParams, CompleteResult, ContentBlock, Implementation,
        ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams, ReadResourceRequestParams,
        ReadResourceResponse, ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    answer::{counted, detail, listed, queue},
    resources,
    store::{Status, Store, StoreError},
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
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AddArguments {
    /// Its npm name, `name` or `@scope/name`
    name: String,
    /// Higher is built first; 0 by default
    priority: Option<i64>,
    /// Names of the packages that must be published before it
    dependencies: Option<Vec<String>>,
    /// Names of the packages that are built before it where they can be; it needs none of them to be published
    build_after: Option<Vec<String>>,
    /// Chooses the recipe; `unknown` by default
    category: Option<String>,
    /// Its folder in the workspace, `.` for the root; `packages/<unscoped name>` by default
    path: Option<String>,
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
        description = "Packages that are to be built or being built: dependencies first, then by priority",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn get_build_queue(
        &self,
        Parameters(QueueArguments { limit }): Parameters<QueueArguments>,
    ) -> CallToolResult {
        self.answer(move |store| queue(store, within(limit)?)).await
    }

    #[tool(
        name = "packages_update",
        description = "Say where a package stands, and why",
        annotations(destructive_hint = false, idempotent_hint = true, open_world_hint = false)
    )]
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

    #[tool(
        name = "packages_add",
        description = "Add a package that is to be built",
        annotations(destructive_hint = false, open_world_hint = false)
    )]
    async fn add(&self, Parameters(arguments): Parameters<AddArguments>) -> CallToolResult {
        self.answer(move |store| {
            let AddArguments { name, priority, dependencies, build_after, category, path } = arguments;
            let package = Package::parse(&json!({
                "name": name,
                "priority": priority,
                "dependencies": dependencies,
                "buildAfter": build_after,
                "category": category,
                "path": path,
            }));
            let package = package.map_err(StoreError::Refused)?;
            if let Some((_, why)) = package.ignored_fields().into_iter().next() {
                return Err(StoreError::Refused(why));
            }
            Ok(detail(&store.add(&package)?))
        })
        .await
    }

    #[tool(
        name = "packages_get",
        description = "One package, with what was last said about it",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn get(&self, Parameters(GetArguments { id }): Parameters<GetArguments>) -> CallToolResult {
        self.answer(move |store| Ok(detail(&store.get(&id)?))).await
    }

    #[tool(
        name = "packages_list",
        description = "Packages in the order of their names, whatever their status; where `next` is answered, there \
                       are more, after that name",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn list(&self, Parameters(arguments): Parameters<ListArguments>) -> CallToolResult {
        self.answer(move |store| {
            let ListArguments { status, after, limit } = arguments;
            listed(store, status.as_deref().map(str::parse).transpose()?, &after, within(limit)?)
        })
        .await
    }

    #[tool(
        name = "packages_counts",
        description = "How many packages are ready, building, published and failed",
        annotations(read_only_hint = true, open_world_hint = false)
    )]
    async fn counts(&self) -> CallToolResult {
        self.answer(|store| Ok(counted(store.counts()?))).await
    }

    /// Asks the database beside the runtime, where waiting for another writer holds up nobody.
    async fn ask<T, F>(&self, ask: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        let asked = tokio::task::spawn_blocking(move || ask(&store)).await;
        asked.unwrap_or_else(|error| Err(StoreError::Refused(format!("the catalogue failed: {error}"))))
    }

    async fn answer<F>(&self, ask: F) -> CallToolResult
    where
        F: FnOnce(&Store) -> Result<Value, StoreError> + Send + 'static,
    {
        match self.ask(ask).await {
            Ok(value) => CallToolResult::structured(value),
            Err(error) => CallToolResult::error(vec![ContentBlock::text(error.to_string())]),
        }
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Catalogue {
    fn get_info(&self) -> ServerConfig {
        let able = ServerCapabilities::builder().enable_tools().enable_resources().enable_completions().build();
        ServerConfig::new(able)
            .with_server_info(Implementation::new("packages-api", env!("CARGO_PKG_VERSION")))
            .with_instructions("A catalogue of packages to be built, and of what became of them")
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::fixed()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.clone();
        match self.ask(move |store| resources::read(store, &request.uri)).await {
            Ok(value) => Ok(resources::answer(uri, &value).into()),
            Err(StoreError::Refused(line)) => Err(ErrorData::resource_not_found(line, Some(json!({ "uri": uri })))),
            Err(error) => Err(ErrorData::internal_error(error.to_string(), None)),
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let CompleteRequestParams { argument, .. } = request;
        let found = self.ask(move |store| resources::complete(store, &argument.name, &argument.value)).await;
        found.map(CompleteResult::new).map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }
}

fn within(limit: u32) -> Result<u32, StoreError> {
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(StoreError::Refused(format!("`limit` is a whole number from 1 to {MAX_LIMIT}, not {limit}")))
    }
}
