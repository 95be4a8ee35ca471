// Writes a workspace of packages of every kind that `npm publish` treats in its own way, the same into each folder that
// is named, and prints what they are called and which tag npm demands: [{"name", "tag"?}, …].
//
//   node packages.mjs [--short | --only=NAME,NAME] FOLDER…
//
// `--short` leaves out those that are `rare`.

import { createCipheriv } from 'node:crypto';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const CODE = 'module.exports = 42;\n';
/** A commit, so that `gitHead` is known. */
const HEAD = '0123456789abcdef0123456789abcdef01234567\n';

/** So many bytes that no packer makes smaller, the same each time. */
function noise(bytes) {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(bytes));
}

/** A command that writes a file, and costs no start of Node. */
const writes = (file, text) => `printf '${text}' > ${file}`;

/** Tells the registry that a script runs, and what it finds around it. */
const BEACON = `
const { basename } = require('path');
const env = process.env;
const named = ['npm_lifecycle_event', 'npm_lifecycle_script', 'npm_package_name', 'npm_package_version',
  'npm_package_engines_node', 'npm_package_config_port', 'npm_package_bin_each', 'npm_command', 'npm_config_user_agent'];
const seen = Object.fromEntries(named.map((name) => [name, env[name]]));
seen.npm_package_json = env.npm_package_json && require(env.npm_package_json).name;
seen.cwd = require(process.cwd() + '/package.json').name;
seen.INIT_CWD = env.INIT_CWD && basename(env.INIT_CWD);
seen.npm_execpath = env.npm_execpath && basename(env.npm_execpath);
seen.npm_node_execpath = env.npm_node_execpath && basename(env.npm_node_execpath);
seen.PATH = env.PATH.split(':').filter((part) => part.endsWith('each-script/node_modules/.bin')).length;
seen.token = Object.entries(env).filter(([name, value]) => /authtoken/i.test(name + value)).map(([name]) => name);
const url = env.npm_config_registry.replace(/\\/$/, '') + '/-/beacon/' + process.argv[2];
fetch(url, { method: 'POST', body: JSON.stringify(seen) }).catch(() => process.exit(1));
`;

/**
 * What a package is made of: `manifest`, `files` (text, bytes or `{text, mode}`), `links`, `folders`; and what is odd about
 * its `package.json`: `crlf`, `mark` (a byte order mark).
 */
const packages = {
  'plain': { manifest: { private: false, main: 'index.js' }, files: { 'index.js': CODE } },
  '@acme/scoped': { files: { 'index.js': CODE, 'README.md': '# Scoped\n' } },
  'prerelease': { tag: 'beta', manifest: { version: '1.0.0-beta.2' }, files: { 'index.js': CODE } },
  'bin-text': {
    manifest: { bin: './cli.js' },
    files: { 'cli.js': { text: '#!/usr/bin/env node\nrequire("./index");\n', mode: 0o644 }, 'index.js': CODE },
  },
  '@acme/bin-object': {
    manifest: { bin: { one: 'bin/one.js', '@acme/two': './bin/../bin/two.js', three: '/bin/three.js' } },
    files: {
      'bin/one.js': '#!/usr/bin/env node\n1;\n',
      'bin/two.js': { text: '#!/usr/bin/env node\n2;\n', mode: 0o755 },
      'bin/three.js': '#!/usr/bin/env node\n3;\n',
    },
  },
  '@acme/bin-scoped-text': { rare: true, manifest: { bin: 'cli.js' }, files: { 'cli.js': '#!/bin/sh\necho\n' } },
  'files-list': {
    manifest: { main: 'unlisted.js', files: ['lib', '!lib/secret.js', '*.txt', '/docs/**/*.md', './here.js', 'no-such-file'] },
    files: {
      'unlisted.js': CODE, 'here.js': CODE, 'lib/a.js': CODE, 'lib/secret.js': 'no', 'lib/deep/.hidden': '1',
      'a.txt': 'a', 'docs/a/b.md': 'b', 'docs/a/b.html': 'no', 'other/a.js': 'no',
      'LICENSE': 'L', 'LICENCE.md': 'L', 'COPYING': 'no', 'NOTICE': 'N', 'CHANGELOG.md': 'C', 'ReadMe.md': 'R', 'HISTORY': 'no',
      'lib/.npmignore': 'quiet.js\n', 'lib/quiet.js': 'no',
    },
  },
  'npmignore': {
    files: {
      '.npmignore': 'test/\n*.log\n!keep.log\n# comment\n\\#hash\n', '.gitignore': 'lib/\n',
      'index.js': CODE, 'lib/a.js': CODE, 'test/a.js': 'no', 'a.log': 'no', 'keep.log': 'k', '#hash': 'no',
      'deep/.npmignore': '*.md\n', 'deep/a.md': 'no', 'deep/a.js': CODE,
    },
  },
  'gitignore': {
    manifest: { main: 'dist/index.js' },
    files: {
      '.gitignore': 'dist/\nbuild\n/top.txt\n', 'dist/index.js': CODE, 'dist/other.js': CODE, 'build/a.js': 'no',
      'top.txt': 'no', 'deep/top.txt': 'd', 'deep/.gitignore': '*.tmp\n', 'deep/a.tmp': 'no', 'deep/b.js': CODE,
    },
  },
  'directories': {
    manifest: { directories: { bin: './commands', man: 'manual', lib: 'lib', doc: 'doc' } },
    files: {
      'commands/first': { text: '#!/bin/sh\necho first\n', mode: 0o644 }, 'commands/second.js': '#!/usr/bin/env node\n',
      'commands/.hidden': 'h', 'manual/first.1': '.TH', 'manual/deep/second.5': '.TH', 'manual/readme.txt': 'no page',
      'lib/index.js': CODE, 'index.js': CODE,
    },
  },
  'man': { rare: true, manifest: { man: './man/page.1' }, files: { 'man/page.1': '.TH', 'index.js': CODE } },
  'bundled': {
    manifest: {
      bundledDependencies: ['inner'], dependencies: { inner: '1.0.0', outer: '^2.0.0' },
      // What an install would leave: node_modules of the source folder are not copied to a build.
      scripts: {
        prepack: 'mkdir -p node_modules/inner/node_modules/innermost node_modules/outer && ' +
          `${writes('node_modules/inner/package.json', '{"name":"inner","version":"1.0.0","dependencies":{"innermost":"1"}}')} && ` +
          `${writes('node_modules/inner/index.js', '1')} && ` +
          `${writes('node_modules/inner/node_modules/innermost/package.json', '{"name":"innermost","version":"1.0.0"}')} && ` +
          writes('node_modules/outer/package.json', '{"name":"outer","version":"2.0.0"}'),
      },
    },
    files: { 'index.js': CODE },
  },
  'bundled-all': { rare: true,
    manifest: {
      bundleDependencies: true, dependencies: { inner: '1.0.0' },
      scripts: {
        prepack: `mkdir -p node_modules/inner && ${writes('node_modules/inner/package.json', '{"name":"inner","version":"1.0.0"}')}`,
      },
    },
    files: { 'index.js': CODE },
  },
  'links-inside': {
    files: { 'index.js': CODE, 'lib/a.js': CODE },
    links: { 'alias.js': 'index.js', 'library': 'lib', 'lib/up.js': '../index.js' },
  },
  'links-outside': {
    files: { 'index.js': CODE },
    links: { 'license': '../plain/index.js', 'host': '/etc/hostname', 'broken': 'nowhere', 'root': '../..' },
  },
  'unicode': {
    manifest: { description: 'Größe – 大小 🎉', keywords: ['größe', '大小'] },
    files: {
      'index.js': CODE, 'größe.js': CODE, 'gro\u0308ße.js': CODE, '日本/語.txt': '語', '🎉 party.md': '🎉',
      'a b/c d.js': CODE, "it's.js": CODE, 'semi;colon&.js': CODE, 'Upper.js': CODE, 'upper.js': '1', '-dash.js': CODE,
      'README.md': '# Größe\n\n大小 🎉\n',
    },
  },
  'modes': {
    files: {
      'index.js': CODE, 'run.sh': { text: '#!/bin/sh\n', mode: 0o755 }, 'private.sh': { text: '#!/bin/sh\n', mode: 0o700 },
      'secret.txt': { text: 's', mode: 0o600 }, 'read-only.txt': { text: 'r', mode: 0o444 }, 'open.txt': { text: 'o', mode: 0o666 },
      'group.sh': { text: '#!/bin/sh\n', mode: 0o754 },
    },
  },
  'crlf': {
    manifest: { bin: { crlf: 'cli.js', deep: 'bin/deep.js' } },
    crlf: true,
    files: {
      'cli.js': '#!/usr/bin/env node\r\nconsole.log(1);\r\n', 'bin/deep.js': '#!/usr/bin/env node\r\n2;\r\n',
      'index.js': 'module.exports = 42;\r\n', 'README.md': '# CRLF\r\n\r\ntext\r\n', '.npmignore': 'no.js\r\n', 'no.js': 'no',
    },
  },
  'byte-order-mark': { rare: true, mark: true, files: { 'index.js': CODE, 'README.md': '\ufeff# Mark\n' } },
  'v-version': { manifest: { version: 'v1.2.3' }, files: { 'index.js': CODE } },
  'spaced-version': { rare: true, manifest: { version: ' =1.2.4 ' }, files: { 'index.js': CODE } },
  'build-metadata': { manifest: { version: '1.2.3+build.5' }, files: { 'index.js': CODE } },
  'large': { files: { 'index.js': CODE, 'noise.bin': () => noise(50_000_000) } },
  'readme-lower': { files: { 'index.js': CODE, 'readme.markdown': 'lower\n' } },
  'readme-several': { files: { 'index.js': CODE, 'README': 'plain\n', 'README.txt': 'text\n', 'README.md': '# md\n', 'readme.js': '1' } },
  'readme-text': { rare: true, manifest: { readme: 'said in the manifest', readmeFilename: 'nowhere.md' }, files: { 'index.js': CODE, 'README.md': 'file\n' } },
  'readme-empty': { rare: true, files: { 'index.js': CODE, 'README.md': '' } },
  'authors': { files: { 'index.js': CODE, 'AUTHORS': '# people\nAnn <ann@example.com> (https://ann.example)\n\nBob\n' } },
  'repository-shorthand': { manifest: { repository: 'github:acme/thing' }, files: { 'index.js': CODE } },
  'repository-gitlab': { rare: true, manifest: { repository: { url: 'gitlab:acme/thing', directory: './packages/x' }, bugs: {} }, files: { 'index.js': CODE } },
  'people-text': {
    manifest: {
      author: 'Ann Other <ann@example.com> (https://ann.example)', contributors: ['Bob <bob@example.com>', { name: 'Eve', mail: 'e@example.com' }],
      maintainers: 'Cy (https://cy.example)', license: 'MIT', bugs: 'https://example.com/bugs', homepage: 'example.com/home',
      keywords: 'one, two  three', repository: 'https://github.com/acme/thing', funding: 'https://example.com/fund',
      engines: 'node >= 10', description: '  spaces \n', licence: 'ISC',
    },
    files: { 'index.js': CODE },
  },
  'odd-manifest': {
    manifest: {
      dependencies: ['a@1', 'b'], optionalDependencies: { c: '1', d: '^2' }, peerDependencies: { e: '*' }, bugs: 'bugs@example.com',
      keywords: ['k', '', ' l '], files: ['index.js', ''], bin: {}, scripts: { test: './node_modules/.bin/tap', odd: 5 }, modules: 1,
      bundleDependencies: false, typings: 'x.d.ts', main: './index.js', module: 'm.mjs', _id: 'x', _private: 1, __proto: 2, exports: { '.': './index.js' },
    },
    files: { 'index.js': CODE, 'index.d.ts': 'export {};\n' },
  },
  'numbers': { rare: true, manifest: { config: { port: 8080, half: 0.5, whole: 1.0, big: 12345678901234567890n, small: 1e-7, minus: -0 } }, files: { 'index.js': CODE } },
  'implied-scripts': { files: { 'server.js': CODE, 'binding.gyp': '{}' } },
  'gyp-named': { rare: true, manifest: { gypfile: false }, files: { 'other.gyp': '{}', 'binding.gyp': '{}', 'index.js': CODE } },
  'types-beside': { manifest: { main: './lib/index.js' }, files: { 'lib/index.js': CODE, 'lib/index.d.ts': 'declare const x: 42;\nexport = x;\n' } },
  'types-of-index': { rare: true, files: { 'index.js': CODE, 'index.d.ts': 'export {};\n' } },
  'modules': { rare: true,
    manifest: {
      type: 'module', sideEffects: false,
      exports: { '.': { types: './esm/index.d.ts', import: './esm/index.js', require: './cjs/index.cjs' }, './package.json': './package.json' },
      imports: { '#x': './esm/index.js' },
    },
    files: {
      'esm/index.js': 'export default 42;\n', 'esm/index.d.ts': 'export default 42;\n', 'cjs/index.cjs': CODE,
      'cjs/package.json': '{"type":"commonjs","files":["index.cjs"]}', 'cjs/extra.js': CODE,
    },
  },
  '@acme/publish-access': { manifest: { publishConfig: { access: 'restricted' } }, files: { 'index.js': CODE } },
  'publish-tag': { manifest: { version: '2.0.0-rc.1', publishConfig: { tag: 'next', access: 'public' } }, files: { 'index.js': CODE } },
  'folders': { rare: true,
    files: { 'index.js': CODE, [`${'d/'.repeat(40)}end.js`]: CODE, [`${'long-name-'.repeat(18)}/${'n'.repeat(150)}.js`]: CODE },
    folders: ['empty', 'deep/er/empty'],
  },
  'big-manifest': {
    manifest: {
      zeta: 1, alpha: { b: [1, { a: null }], a: true }, 10: 'ten', 9: 'nine', dependencies: many(400, 'dependency'), devDependencies: many(200, 'tool'),
      scripts: Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`task:${n}`, `echo ${n} "$HOME" && exit`])),
      text: '\u2028 \u0001 " \\ / </script> é \ud83c\udf89', exports: Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`./m${n}`, './index.js'])),
    },
    files: { 'index.js': CODE },
  },
  'left-out': { rare: true,
    files: {
      'index.js': CODE, 'package-lock.json': '{}', 'yarn.lock': '', 'pnpm-lock.yaml': '', 'bun.lockb': '', '.DS_Store': 'no', '._x': 'no', '.a.swp': 'no',
      'a.orig': 'no', 'core': 'no', 'deep/core': 'd', '.hg/x': 'no', 'CVS/x': 'no', '.svn/x': 'no', '.wafpickle-7': 'no', 'npm-debug.log': 'no',
      'config.gypi': 'no', 'archived-packages/x': 'a', 'build/config.gypi': 'no', '.env': 'e', '.editorconfig': 'e', '.eslintrc': '{}', '.github/w.yml': 'w',
      'left-out-0.9.0.tgz': 'an older tarball',
    },
  },
  'shrinkwrap': { rare: true,
    files: { 'index.js': CODE, 'npm-shrinkwrap.json': '{"name":"shrinkwrap","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"shrinkwrap","version":"1.0.0"}}}' },
  },
  'fixtures': {
    files: { 'index.js': CODE, 'test/fixtures/app/node_modules/dep/index.js': CODE, 'test/fixtures/app/package.json': '{"name":"app"}' },
  },
  'prepublish-only': {
    manifest: { main: 'dist/index.js', files: ['dist'], scripts: { prepublishOnly: `mkdir dist && ${writes('dist/index.js', 'module.exports = 42')}` } },
    files: { 'src/index.js': CODE },
  },
  'prepublish-manifest': { rare: true,
    manifest: { version: '0.0.1', main: 'index.js', scripts: { prepublishOnly: "sed -i 's/0\\.0\\.1/0.0.2/' package.json" } },
    files: { 'index.js': CODE },
  },
  'prepack-restored': {
    manifest: {
      description: 'DURING WORK', devDependencies: { tool: '1' },
      scripts: { prepack: "cp package.json .kept && sed -i 's/DURING WORK/PACKED/' package.json", postpack: 'mv .kept package.json' },
    },
    files: { 'index.js': CODE },
  },
  'prepare': {
    manifest: { main: 'built.js', types: 'built.d.ts', scripts: { prepare: `${writes('built.js', 'module.exports = 42')} && ${writes('built.d.ts', 'export {}')}` } },
    files: { 'index.js': CODE, '.gitignore': 'built.*\n' },
  },
  'readme-built': { rare: true, manifest: { scripts: { prepack: writes('README.md', 'built') } }, files: { 'index.js': CODE } },
  'each-script': {
    manifest: {
      bin: { each: 'index.js' }, engines: { node: '>=18' }, config: { port: 8080 },
      scripts: Object.fromEntries(
        ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare', 'prepublishOnly', 'prepack', 'postpack',
          'prepublish', 'publish', 'postpublish'].map((script) => [script, `node beacon.cjs ${script}`]),
      ),
    },
    files: { 'index.js': '#!/usr/bin/env node\n1;\n', 'beacon.cjs': BEACON },
  },
};

function many(count, name) {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`${name}-${(n * 37) % count}`, `^${n}.0.0`]));
}

function text(manifest, { crlf, mark }) {
  // A number that JSON has and JavaScript has not.
  const big = (_, value) => (typeof value === 'bigint' ? `bigint:${value}` : value);
  const json = `${JSON.stringify(manifest, big, 2)}\n`.replace(/"bigint:(\d+)"/g, '$1');
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
const only = process.argv.find((argument) => argument.startsWith('--only='))?.slice('--only='.length).split(',');
const short = process.argv.includes('--short');
const chosen = Object.entries(packages).filter(([name, { rare }]) => only?.includes(name) ?? !(short && rare));
for (const root of roots) write(root);
console.log(JSON.stringify(chosen.map(([name, { tag }]) => ({ name, tag }))));
