// How the package manager of a workspace is called.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isLerna, manifest } from './workspace.mjs';

/** `npm`, `pnpm`, `yarn` (from version 2 on) or `yarn-classic`. */
export function managerOf(root) {
  const has = (file) => existsSync(join(root, file));
  const [named, version = ''] = manifest(root).packageManager?.split('@') ?? [];
  if (named === 'yarn') return version.startsWith('1.') ? 'yarn-classic' : 'yarn';
  if (named) return named;
  if (has('pnpm-workspace.yaml') || has('pnpm-lock.yaml')) return 'pnpm';
  if (has('.yarnrc.yml')) return 'yarn';
  if (!has('yarn.lock')) return 'npm';
  return readFileSync(join(root, 'yarn.lock'), 'utf8').includes('\n__metadata:') ? 'yarn' : 'yarn-classic';
}

const locked = (folder, ...files) => files.some((file) => existsSync(join(folder, file)));

const NPM = {
  install: (folder) => [
    'npm', locked(folder, 'package-lock.json', 'npm-shrinkwrap.json') ? 'ci' : 'install', '--no-audit', '--no-fund',
  ],
  members: (root) => (isLerna(root) ? ['npx', '--no-install', 'lerna', 'list', '--all', '--json'] : ['npm', 'query', '.workspace']),
  folders: (root, out) => JSON.parse(out).map(({ location, path }) => (isLerna(root) ? location : (path ?? join(root, location)))),
  run: (script) => ['npm', 'run', script],
  pack: (to) => ['npm', 'pack', '--pack-destination', to],
};

const lines = (out) => out.split('\n').filter(Boolean).map((line) => JSON.parse(line));

const MANAGERS = {
  npm: NPM,
  pnpm: {
    install: () => ['pnpm', 'install', '--frozen-lockfile'],
    members: () => ['pnpm', '-r', 'ls', '--json', '--depth', '-1'],
    folders: (_root, out) => JSON.parse(out.slice(out.indexOf('['))).map(({ path }) => path),
    run: (script) => ['pnpm', 'run', script],
    pack: (to) => ['pnpm', 'pack', '--pack-destination', to],
  },
  yarn: {
    install: () => ['yarn', 'install', '--immutable'],
    members: () => ['yarn', 'workspaces', 'list', '--json'],
    folders: (root, out) => lines(out).map(({ location }) => join(root, location)),
    run: (script) => ['yarn', 'run', script],
    pack: (to) => ['yarn', 'pack', '--out', join(to, 'package.tgz')],
  },
  'yarn-classic': {
    install: () => ['yarn', 'install', '--frozen-lockfile', '--non-interactive'],
    members: () => ['yarn', '--silent', 'workspaces', 'info', '--json'],
    folders: (root, out) => Object.values(JSON.parse(out)).map(({ location }) => join(root, location)),
    run: (script) => ['yarn', 'run', script],
    pack: (to) => ['yarn', 'pack', '--filename', join(to, 'package.tgz')],
  },
};

/** The commands of the workspace's own manager: `{ name, install, members, folders, run, pack }`. */
export function commands(root) {
  const name = managerOf(root);
  if (!(name in MANAGERS)) throw new Error(`no control is known for ${name}`);
  return { name, ...MANAGERS[name] };
}
