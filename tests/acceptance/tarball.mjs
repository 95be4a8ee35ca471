// The files of an npm tarball: their paths without the folder above them, with the SHA-256 of each.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const BLOCK = 512;

/** `{ path: { sha256, executable } }` of a .tgz, in the order of the paths. */
export function contents(file) {
  const data = gunzipSync(readFileSync(file));
  const files = [];
  let named = {};
  for (let at = 0; at + BLOCK <= data.length && data[at] !== 0; ) {
    const header = data.subarray(at, at + BLOCK);
    const size = number(header, 124, 12);
    const body = data.subarray(at + BLOCK, at + BLOCK + size);
    const type = String.fromCharCode(header[156]);
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    if (type === 'x' || type === 'g') {
      // What stands in a global header holds for no path.
      if (type === 'x') named = extended(body);
      continue;
    }
    if (type === 'L') {
      named = { path: text(body, 0, body.length) };
      continue;
    }
    const short = [text(header, 345, 155), text(header, 0, 100)].filter(Boolean).join('/');
    const path = (named.path ?? short).replace(/^[^/]*\//, '');
    named = {};
    if (type !== '0' && type !== '\0') continue;
    const sha256 = createHash('sha256').update(body).digest('hex');
    files.push([path, { sha256, executable: (number(header, 100, 8) & 0o111) !== 0 }]);
  }
  return Object.fromEntries(files.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const text = (data, from, length) => data.subarray(from, from + length).toString().split('\0')[0];

const number = (data, from, length) => Number.parseInt(text(data, from, length).trim() || '0', 8);

/** The fields of an extended header: lines of `LENGTH KEY=VALUE`. */
function extended(body) {
  const fields = {};
  for (let at = 0; at < body.length; ) {
    const length = Number.parseInt(body.subarray(at).toString(), 10);
    if (!(length > 0)) break;
    const [, key, value] = /^\d+ ([^=]*)=(.*)\n$/s.exec(body.subarray(at, at + length).toString()) ?? [];
    if (key) fields[key] = value;
    at += length;
  }
  return fields;
}
