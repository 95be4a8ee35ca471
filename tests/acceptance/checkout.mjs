// Fresh clones, and the programs that a workspace wants on the PATH.

import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { must } from './command.mjs';

/** Clones the workspace of the list at its commit into `folder` and applies its patch. */
export async function clone(workspace, folder, { env, log }) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true });
  const git = (words, name) => must(['git', ...words], { cwd: dirname(folder), env, log: `${log}/${name}.log` });
  await git(['clone', '--quiet', '--no-checkout', workspace.git, folder], 'clone');
  await git(['-C', folder, '-c', 'advice.detachedHead=false', 'checkout', '--quiet', workspace.commit], 'checkout');
  if (workspace.patch) await git(['-C', folder, 'apply', workspace.patch], 'patch');
}

/** The folders to put first on the PATH for `{ node, npm }` of an entry; installed once below `work`. */
export async function programs(wanted = {}, work) {
  const machine = `${process.platform}-${process.arch}`;
  const packageOf = (name, version) => {
    if (name === 'node') return `node-${machine}`;
    if (name === 'yarn' && !version.startsWith('1.')) return '@yarnpkg/cli-dist';
    // From version 12 on it is a native program.
    return name === 'pnpm' && Number.parseInt(version) >= 12 ? `@pnpm/exe.${machine}` : name;
  };
  const packages = Object.entries(wanted).map(([name, version]) => `${packageOf(name, version)}@${version}`);
  if (packages.length === 0) return [];
  const home = resolve(work, 'programs', packages.join('+').replaceAll('/', '_'));
  const bin = join(home, 'node_modules/.bin');
  if (!existsSync(join(home, 'whole'))) {
    rmSync(home, { recursive: true, force: true });
    mkdirSync(home, { recursive: true });
    const install = ['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', home, ...packages];
    await must(install, { cwd: home, env: process.env, log: join(home, 'install.log') });
    mkdirSync(join(home, 'whole'));
  }
  // pnpm's native program lies in its package without a link from there.
  const native = Object.entries(wanted).map(([name, version]) => packageOf(name, version)).filter((name) => name.startsWith('@pnpm/'));
  return [bin, ...native.map((name) => join(home, 'node_modules', name))];
}
