// What a workspace consists of, as its own tools say, and which of its scripts build and test.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { must } from './command.mjs';

export const manifest = (folder) =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8').replace(/^\uFEFF/, ''));

/** Whether lerna.json alone says what the members are: neither npm and Yarn nor pnpm do. */
export const isLerna = (root) =>
  existsSync(join(root, 'lerna.json')) && !manifest(root).workspaces && !existsSync(join(root, 'pnpm-workspace.yaml'));

/** Members with name and version, siblings first: `{ name, version, path, private, scripts, needs }`. */
export async function members(root, manager, options) {
  const { out } = await must(manager.members(root), { ...options, cwd: root, stdout: true });
  const found = manager.folders(root, out).map((folder) => {
    const { name, version, private: hidden, scripts = {}, ...rest } = manifest(folder);
    const needs = ['dependencies', 'optionalDependencies', 'devDependencies'].flatMap((kind) => Object.keys(rest[kind] ?? {}));
    return { name, version, folder, path: folder.slice(root.length + 1), private: Boolean(hidden), scripts, needs };
  });
  return ordered(found.filter(({ name, version }) => name && version));
}

/** Siblings first; a cycle is cut where it is met. */
function ordered(all) {
  const byName = new Map(all.map((each) => [each.name, each]));
  const order = new Set();
  const met = new Set();
  const visit = (each) => {
    if (!each || met.has(each)) return;
    met.add(each);
    each.needs.forEach((name) => visit(byName.get(name)));
    order.add(each);
  };
  all.forEach(visit);
  return [...order];
}

/** Public members, and private ones that a public one needs. */
export function toBuild(all) {
  const byName = new Map(all.map((each) => [each.name, each]));
  const wanted = new Set();
  const want = (each) => {
    if (!each || wanted.has(each)) return;
    wanted.add(each);
    each.needs.forEach((name) => want(byName.get(name)));
  };
  all.filter((each) => !each.private).forEach(want);
  return all.filter((each) => wanted.has(each));
}

const PUBLISHES = /\b(changeset|lerna|npm|pnpm|yarn|nx)\b[^&|;]*\b(publish|release)\b/;

/** The root's script that builds everything: the one that its release script runs, else `build`, else none. */
export function rootBuild(root) {
  const { scripts = {} } = manifest(root);
  for (const command of Object.values(scripts).filter((command) => PUBLISHES.test(command))) {
    const before = command.split(/&&|;/).slice(0, command.split(/&&|;/).findIndex((part) => PUBLISHES.test(part)));
    const run = before.map((part) => /^\s*(?:npm|pnpm|yarn)(?:\s+run)?\s+([\w:.-]+)/.exec(part)?.[1]);
    const builds = run.filter((name) => name in scripts && !/test|lint|format|version|clean|check/.test(name));
    if (builds.length > 0) return builds.at(-1);
  }
  return 'build' in scripts ? 'build' : undefined;
}

/** `own`, `stub` (it only prints and fails) or `none`. */
export function testKind(scripts = {}) {
  if (!scripts.test) return 'none';
  const prints = /^\s*echo\b[^&|;]*(&&|;)\s*exit\s+[1-9]\d*\s*;?\s*$/;
  // What stands in quotes is no operator.
  return prints.test(scripts.test.replace(/"[^"]*"|'[^']*'/g, '""')) ? 'stub' : 'own';
}
