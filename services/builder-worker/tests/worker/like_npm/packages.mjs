// Writes a workspace of packages of every kind that `npm publish` treats in its own way, the same into each folder that
// is named, and prints what they are called and which tag npm demands: [{"name", "tag"?}, …].
//
//   node packages.mjs [--short | --only=NAME,NAME] FOLDER…
//
// `--short` leaves out those that are `rare`.

import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { files as packed } from './files.mjs';
import { manifests } from './manifests.mjs';
import { scripts } from './scripts.mjs';

/** A commit, so that `gitHead` is known. */
const HEAD = '0123456789abcdef0123456789abcdef01234567\n';

/**
 * What a package is made of: `manifest`, `files` (text, bytes or `{text, mode}`), `links`, `folders`; and what is odd
 * about its `package.json`: `crlf`, `mark` (a byte order mark). `tag` is what npm wants to be told to publish it.
 */
const packages = { ...packed, ...manifests, ...scripts };

function text(manifest, { crlf, mark }) {
  // What JSON can say of numbers, and JSON.stringify does not.
  const json = `${JSON.stringify(manifest, null, 2)}\n`.replace(/"raw:([^"]+)"/g, '$1');
  return (mark ? '\ufeff' : '') + (crlf ? json.replaceAll('\n', '\r\n') : json);
}

function write(root) {
  mkdirSync(join(root, '.git/refs/heads'), { recursive: true });
  writeFileSync(join(root, '.git/HEAD'), 'ref: refs/heads/main\n');
  writeFileSync(join(root, '.git/refs/heads/main'), HEAD);
  for (const [name, described] of chosen) {
    const { manifest = {}, files = {}, links = {}, folders = [] } = described;
    const folder = join(root, 'packages', name.split('/').at(-1));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), text({ name, version: '1.0.0', ...manifest }, described));
    for (const [path, content] of Object.entries(files)) {
      const { text: said = content, mode } = typeof content === 'object' ? content : {};
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), typeof said === 'function' ? said() : said);
      // Not left to the umask.
      chmodSync(join(folder, path), mode ?? 0o644);
    }
    for (const empty of folders) mkdirSync(join(folder, empty), { recursive: true });
    for (const [path, target] of Object.entries(links)) symlinkSync(target, join(folder, path));
  }
}

const roots = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const only = process.argv
  .find((argument) => argument.startsWith('--only='))
  ?.slice('--only='.length)
  .split(',');
const short = process.argv.includes('--short');
const chosen = Object.entries(packages).filter(([name, { rare }]) => only?.includes(name) ?? !(short && rare));
for (const root of roots) write(root);
console.log(JSON.stringify(chosen.map(([name, { tag }]) => ({ name, tag }))));
