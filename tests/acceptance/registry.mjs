// What the registry holds of the same versions.

import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { environment, run } from './command.mjs';
import { contents } from './tarball.mjs';

/** `{ name: { files } }` of the packages `{ name: version }`; `{ absent: true }` where that version does not exist. */
export async function registry(workspace, wanted, { work }) {
  const folder = join(work, 'runs', workspace.name, 'registry');
  rmSync(folder, { recursive: true, force: true });
  const env = environment(folder, { cache: join(work, 'npm-cache') });
  const packages = {};
  for (const [name, version] of Object.entries(wanted)) {
    const destination = join(folder, 'packed', name);
    mkdirSync(destination, { recursive: true });
    const words = ['npm', 'pack', `${name}@${version}`, '--pack-destination', destination];
    const ended = await run(words, { cwd: folder, env, log: join(folder, 'log', `${name.replace('/', '+')}.log`) });
    const [tarball] = readdirSync(destination);
    if (ended.ok && tarball) packages[name] = { files: contents(join(destination, tarball)) };
    else if (/E404|ETARGET/.test(ended.last)) packages[name] = { absent: true };
    else throw new Error(`${words.join(' ')}: ${ended.last}`);
  }
  for (const each of [folder, env.TMPDIR]) rmSync(each, { recursive: true, force: true });
  return { packages };
}
