// The control: what the workspace's own tools install, build, test and pack in a fresh clone.

import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { clone } from './checkout.mjs';
import { environment, run } from './command.mjs';
import { commands } from './manager.mjs';
import { contents } from './tarball.mjs';
import { isLerna, manifest, members, rootBuild, testKind, toBuild } from './workspace.mjs';

/** One control run: its record, with each public package and what was packed of it. */
export async function control(workspace, { work, programs, number }) {
  const folder = join(work, 'runs', workspace.name, `control-${number}`);
  rmSync(folder, { recursive: true, force: true });
  const env = environment(folder, { programs, cache: join(work, 'npm-cache') });
  const log = (name) => join(folder, 'log', `${name.replaceAll('/', '+')}.log`);
  const root = join(folder, workspace.name);
  await clone(workspace, root, { env, log: join(folder, 'log') });
  const manager = commands(root);
  const step = (words, cwd, name) => run(words, { cwd, env, log: log(name) });

  const record = { tools: await tools(root, manager, env, log) };
  record.install = await step([...manager.install(root), ...(workspace.install ?? [])], root, 'install');
  if (!record.install.ok) {
    rmSync(env.TMPDIR, { recursive: true, force: true });
    return record;
  }
  const all = await members(root, manager, { env, log: log('members') });
  const installs = {};
  if (isLerna(root)) {
    for (const each of all) installs[each.name] = await step(manager.install(each.folder), each.folder, `install ${each.name}`);
  }
  const builds = await build(root, all, manager, step);
  Object.assign(record, { installs: summed(installs), build: builds.root, builds: summed(builds.members), packages: {} });
  for (const each of all.filter((each) => !each.private)) {
    record.packages[each.name] = await one(each, installs[each.name], builds, manager, step, join(folder, 'packed'));
  }
  record.rootTest = await rootTest(root, record, number, manager, step);
  for (const each of [root, env.TMPDIR]) rmSync(each, { recursive: true, force: true });
  return record;
}

async function tools(root, { name }, env, log) {
  const said = async (name) => (await run([name, '--version'], { cwd: root, env, log: log(name), stdout: true })).out?.trim();
  const program = name.split('-')[0];
  return { node: await said('node'), [program]: await said(program) };
}

/** By the root's script; each member's own where there is none, or where it fails. */
async function build(root, all, manager, step) {
  const name = rootBuild(root);
  const ofRoot = name && { script: name, ...(await step(manager.run(name), root, 'build')) };
  const ofMembers = {};
  if (!ofRoot?.ok) {
    for (const each of toBuild(all).filter(({ scripts }) => scripts.build)) {
      ofMembers[each.name] = await step(manager.run('build'), each.folder, `build ${each.name}`);
    }
  }
  return { root: ofRoot, members: ofMembers };
}

/** Tests and packs a public member, as far as all before it went well. */
async function one(each, installed, builds, manager, step, packed) {
  const record = { version: each.version, path: each.path, test: testKind(each.scripts) };
  const failed = (name, { status, last }) => ({ ...record, passed: false, step: name, status, last });
  if (installed && !installed.ok) return failed('install', installed);
  const built = builds.members[each.name] ?? builds.root;
  if (built && !built.ok) return failed(builds.members[each.name] ? 'build' : 'root build', built);
  if (record.test === 'own') {
    const tested = await step(manager.run('test'), each.folder, `test ${each.name}`);
    record.seconds = tested.seconds;
    if (!tested.ok) return failed('test', tested);
  }
  const destination = join(packed, each.name);
  mkdirSync(destination, { recursive: true });
  const ended = await step(manager.pack(destination), each.folder, `pack ${each.name}`);
  record.seconds = (record.seconds ?? 0) + ended.seconds;
  const [tarball] = readdirSync(destination);
  if (!ended.ok || !tarball) return failed('pack', ended);
  return { ...record, passed: true, files: contents(join(destination, tarball)) };
}

/** Where a public package has no test of its own, the root's runs once: in the first control, after all is packed. */
async function rootTest(root, { packages }, number, manager, step) {
  const only = Object.values(packages).some(({ test }) => test !== 'own');
  if (!only || testKind(manifest(root).scripts) !== 'own') return undefined;
  if (number > 1) return { ran: false };
  return { ran: true, ...(await step(manager.run('test'), root, 'root test')) };
}

function summed(steps) {
  const all = Object.entries(steps);
  if (all.length === 0) return undefined;
  const seconds = Math.round(all.reduce((sum, [, step]) => sum + step.seconds, 0) * 10) / 10;
  return { count: all.length, seconds, failed: Object.fromEntries(all.filter(([, step]) => !step.ok)) };
}
