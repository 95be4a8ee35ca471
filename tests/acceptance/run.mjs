// Builds whole workspaces by their own tools and by Packline, and compares what comes out. README.md says how.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { programs } from './checkout.mjs';
import { control } from './control.mjs';
import { packline } from './packline.mjs';
import { registry } from './registry.mjs';
import { report } from './table.mjs';

const USAGE = 'usage: run.mjs --list FILE --work DIR [--only NAME]... [--packline FILE] control|packline|registry|table';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'string' },
    work: { type: 'string' },
    only: { type: 'string', multiple: true },
    packline: { type: 'string', default: 'packline' },
    minutes: { type: 'string', default: '60' },
  },
});
const [verb] = positionals;
if (!values.list || !values.work || positionals.length !== 1) {
  console.error(USAGE);
  process.exit(2);
}

const work = resolve(values.work);
const results = join(work, 'results');
mkdirSync(results, { recursive: true });
const list = JSON.parse(readFileSync(values.list, 'utf8'))
  .filter(({ name }) => !values.only || values.only.includes(name))
  .map((each) => ({ ...each, ...(each.patch && { patch: resolve(dirname(values.list), each.patch) }) }));

const keep = (name, kind, value) =>
  writeFileSync(join(results, `${name}.${kind}.json`), `${JSON.stringify(value, null, 1)}\n`);

const kept = (name, kind) => {
  const file = join(results, `${name}.${kind}.json`);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
};

/** The public packages of a workspace with their versions, as its control found them. */
function wanted({ name }) {
  const controls = kept(name, 'control');
  if (!controls) throw new Error(`${name} has no control yet: run the verb \`control\` first`);
  return Object.fromEntries(Object.entries(controls.runs[0].packages ?? {}).map(([name, { version }]) => [name, version]));
}

const VERBS = {
  async control(workspace) {
    const found = await programs(workspace.programs, work);
    const runs = [];
    for (const number of [1, 2]) {
      const started = Date.now();
      const record = await control(workspace, { work, programs: found, number });
      runs.push({ ...record, seconds: Math.round((Date.now() - started) / 1000) });
      keep(workspace.name, 'control', { ...workspace, runs });
      const all = Object.values(record.packages ?? {});
      const passed = all.filter((each) => each.passed).length;
      console.log(`${workspace.name}, control ${number}: ${passed} of ${all.length} packages, ${runs.at(-1).seconds} s`);
      if (!record.install.ok) console.log(`install: ${record.install.status}\n${record.install.last}`);
    }
  },

  async packline(workspace) {
    const binary = values.packline.includes('/') ? resolve(values.packline) : values.packline;
    // What a workspace asks for is installed for it.
    const options = { work, programs: [], binary, minutes: Number(values.minutes) };
    const record = await packline(workspace, wanted(workspace), options);
    keep(workspace.name, 'packline', record);
    const all = Object.values(record.packages);
    const published = all.filter((each) => each.published).length;
    console.log(`${workspace.name}: ${published} of ${all.length} packages published, ${record.seconds} s`);
  },

  async registry(workspace) {
    keep(workspace.name, 'registry', await registry(workspace, wanted(workspace), { work }));
  },

  /** Of all workspaces that have a control. */
  async table(workspace, reported) {
    const controls = kept(workspace.name, 'control');
    if (!controls) return;
    if (!kept(workspace.name, 'registry')) await VERBS.registry(workspace);
    const [packline, registry] = ['packline', 'registry'].map((kind) => kept(workspace.name, kind));
    reported.push({ controls, packline, registry });
  },
};

if (!(verb in VERBS)) {
  console.error(USAGE);
  process.exit(2);
}
const reported = [];
for (const workspace of list) await VERBS[verb](workspace, reported);
if (verb === 'table') process.stdout.write(report(reported));
