"""Works with a catalogue as a user of the Python SDK would, and prints what it saw, a line of JSON each time.

    client.py stdio PROGRAM ARGUMENT...
    client.py http URL TOKEN...    (once with each; `-` is none)
"""

import asyncio
import json
import sys

import httpx
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


async def work(session: ClientSession) -> dict:
    await session.initialize()

    async def call(tool: str, **arguments):
        result = await session.call_tool(tool, arguments)
        text = result.content[0].text
        if result.isError:
            return {"error": text}
        assert json.loads(text) == result.structuredContent, text
        return result.structuredContent

    async def read(uri: str):
        (content,) = (await session.read_resource(uri)).contents
        assert content.mimeType == "application/json", content
        return json.loads(content.text)

    def names(answer: dict) -> list:
        return [package["name"] for package in answer["packages"]]

    tools = (await session.list_tools()).tools
    await call("packages_add", name="@acme/base")
    await call("packages_add", name="@acme/app", priority=9, dependencies=["@acme/base"])
    queue = await call("packages_get_build_queue", limit=50)
    metadata = {"error": "<b>é\n\"x\"", "failedPhase": "test", "attempts": 3, "buildId": "acme/app.7"}
    await call("packages_update", id="@acme/base", data={"status": "published"})
    await call("packages_update", id="@acme/app", data={"status": "failed", "metadata": metadata})
    first = await call("packages_list", limit=1)
    second = await call("packages_list", limit=1, after=first["next"])
    ref = types.ResourceTemplateReference(type="ref/resource", uri="packages://package/{+name}")
    try:
        nothing = await read("packages://package/none")
    except McpError as error:
        nothing = error.error.code
    return {
        "tools": sorted(tool.name for tool in tools),
        "reading": sorted(tool.name for tool in tools if tool.annotations and tool.annotations.readOnlyHint),
        "queue": names(queue),
        "pages": [names(first), names(second), second.get("next")],
        "counts": await call("packages_counts"),
        "said": (await call("packages_get", id="@acme/app"))["metadata"],
        "refused": list(await call("packages_get", id="none")),
        "resources": [str(resource.uri) for resource in (await session.list_resources()).resources],
        "templates": [t.uriTemplate for t in (await session.list_resource_templates()).resourceTemplates],
        "list": names(await read("packages://list")),
        "failed": names(await read("packages://list?status=failed")),
        "package": (await read("packages://package/@acme/app"))["status"],
        "encoded": (await read("packages://package/%40acme%2Fapp"))["status"],
        "nothing": nothing,
        "completed": (await session.complete(ref, {"name": "name", "value": "@acme/a"})).completion.values,
    }


async def over(transport) -> dict:
    async with transport as (read, write, *_), ClientSession(read, write) as session:
        return await work(session)


def status(error: BaseException) -> int | None:
    """The HTTP status that is the cause of it all."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code
    return next((found for one in getattr(error, "exceptions", []) if (found := status(one))), None)


def once(transport) -> None:
    try:
        seen = asyncio.run(over(transport))
    except BaseException as error:
        if (found := status(error)) is None:
            raise
        seen = {"status": found}
    print(json.dumps(seen))


def main() -> None:
    kind, first, *rest = sys.argv[1:]
    if kind == "stdio":
        once(stdio_client(StdioServerParameters(command=first, args=rest)))
        return
    for token in rest:
        headers = {} if token == "-" else {"Authorization": f"Bearer {token}"}
        once(streamablehttp_client(first, headers=headers))


main()
