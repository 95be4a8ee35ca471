// What Packline publishes of a fresh clone, and what it says of the rest.

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { clone } from './checkout.mjs';
import { environment, run } from './command.mjs';
import { contents } from './tarball.mjs';

/** One run of `packline up --once`: each of the public packages `{ name: version }` with what the registry keeps. */
export async function packline(workspace, wanted, { work, programs, binary, minutes }) {
  const folder = join(work, 'runs', workspace.name, 'packline');
  rmSync(folder, { recursive: true, force: true });
  const env = { ...environment(folder, { programs }), XDG_CACHE_HOME: join(work, 'packline-cache') };
  const root = join(folder, workspace.name);
  await clone(workspace, root, { env, log: join(folder, 'log') });
  const log = join(folder, 'log/up.log');
  const up = await run([binary, 'up', '--workspace', root, '--once'], { cwd: folder, env, log, minutes });
  const output = stripVTControlCharacters(readFileSync(log, 'utf8'));
  const said = rows(output);
  const packages = {};
  for (const [name, version] of Object.entries(wanted)) {
    const tarball = join(root, '.packline/registry/storage', name, `${basename(name)}-${version}.tgz`);
    const files = existsSync(tarball) ? contents(tarball) : undefined;
    packages[name] = { version, published: Boolean(files), ...said[name], files };
  }
  for (const each of [root, env.TMPDIR]) rmSync(each, { recursive: true, force: true });
  return { ...up, output, packages };
}

/** The table at the end of `up`: `{ name: { outcome, reason } }`. A cell may go on in the next line. */
export function rows(output) {
  const found = [];
  for (const line of output.split('\n').filter((line) => line.startsWith('│'))) {
    const [name, outcome, attempts, version, reason] = line.slice(1, -1).split(/[┆│]/).map((cell) => cell.trim());
    if (reason === undefined || name === 'package') continue;
    if (/^\d+$/.test(attempts)) found.push({ name, outcome, reason: [reason] });
    else if (found.length > 0) {
      found.at(-1).name += name;
      found.at(-1).outcome += outcome;
      found.at(-1).reason.push(reason);
    }
  }
  return Object.fromEntries(
    found.map(({ name, outcome, reason }) => [name, { outcome, reason: reason.filter(Boolean).join(' ') }]),
  );
}
