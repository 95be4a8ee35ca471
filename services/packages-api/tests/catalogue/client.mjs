// Works with a catalogue as a user of the TypeScript SDK would, and prints what it saw, a line of JSON each time.
//
//     client.mjs stdio PROGRAM ARGUMENT...
//     client.mjs http URL TOKEN...    (once with each; `-` is none)

import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

let client;

async function call(name, args = {}) {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content[0].text;
  if (result.isError) return { error: text };
  assert.deepEqual(JSON.parse(text), result.structuredContent);
  return result.structuredContent;
}

async function read(uri) {
  const { contents } = await client.readResource({ uri });
  assert.equal(contents[0].mimeType, 'application/json');
  return JSON.parse(contents[0].text);
}

const names = (answer) => answer.packages.map((one) => one.name);

async function work(transport) {
  client = new Client({ name: 'client.mjs', version: '1.0.0' });
  await client.connect(transport);
  const { tools } = await client.listTools();
  await call('packages_add', { name: '@acme/base' });
  await call('packages_add', { name: '@acme/app', priority: 9, dependencies: ['@acme/base'] });
  const queue = await call('packages_get_build_queue', { limit: 50 });
  const metadata = { error: '<b>é\n"x"', failedPhase: 'test', attempts: 3, buildId: 'acme/app.7' };
  await call('packages_update', { id: '@acme/base', data: { status: 'published' } });
  await call('packages_update', { id: '@acme/app', data: { status: 'failed', metadata } });
  const first = await call('packages_list', { limit: 1 });
  const second = await call('packages_list', { limit: 1, after: first.next });
  const ref = { type: 'ref/resource', uri: 'packages://package/{+name}' };
  const argument = { name: 'name', value: '@acme/a' };
  return {
    tools: tools.map((tool) => tool.name).sort(),
    reading: tools.filter((tool) => tool.annotations?.readOnlyHint).map((tool) => tool.name).sort(),
    queue: names(queue),
    pages: [names(first), names(second), second.next ?? null],
    counts: await call('packages_counts'),
    said: (await call('packages_get', { id: '@acme/app' })).metadata,
    refused: Object.keys(await call('packages_get', { id: 'none' })),
    resources: (await client.listResources()).resources.map((resource) => resource.uri),
    templates: (await client.listResourceTemplates()).resourceTemplates.map((one) => one.uriTemplate),
    list: names(await read('packages://list')),
    failed: names(await read('packages://list?status=failed')),
    package: (await read('packages://package/@acme/app')).status,
    encoded: (await read('packages://package/%40acme%2Fapp')).status,
    nothing: await read('packages://package/none').catch((error) => error.code),
    completed: (await client.complete({ ref, argument })).completion.values,
  };
}

async function once(transport) {
  const seen = await work(transport).catch((error) => {
    if (error.code === 401) return { status: error.code };
    throw error;
  });
  await client.close();
  console.log(JSON.stringify(seen));
}

const [kind, first, ...rest] = process.argv.slice(2);
if (kind === 'stdio') {
  await once(new StdioClientTransport({ command: first, args: rest, stderr: 'ignore' }));
} else {
  for (const token of rest) {
    const headers = token === '-' ? {} : { Authorization: `Bearer ${token}` };
    await once(new StreamableHTTPClientTransport(new URL(first), { requestInit: { headers } }));
  }
}
