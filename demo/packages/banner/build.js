// Puts the package's version into what is published.
import { mkdir, readFile, writeFile } from 'node:fs/promises';

const { version } = JSON.parse(await readFile('package.json', 'utf8'));
const source = await readFile('src/index.js', 'utf8');
await mkdir('dist', { recursive: true });
await writeFile('dist/index.js', `export const version = ${JSON.stringify(version)};\n\n${source}`);
console.log(`dist/index.js, version ${version}`);
