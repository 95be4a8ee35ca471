// Packages that differ in which files there are, and which of them are packed.

import { createCipheriv } from 'node:crypto';

import { CODE } from './code.mjs';

/** So many bytes that no packer makes smaller, the same each time. */
function noise(bytes) {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(bytes));
}

export const files = {
  plain: { manifest: { private: false, main: 'index.js' }, files: { 'index.js': CODE } },
  '@acme/scoped': { files: { 'index.js': CODE, 'README.md': '# Scoped\n' } },
  'files-list': {
    manifest: {
      main: 'unlisted.js',
      files: ['lib', '!lib/secret.js', '*.txt', '/docs/**/*.md', './here.js', 'no-such-file'],
    },
    files: {
      'unlisted.js': CODE,
      'here.js': CODE,
      'lib/a.js': CODE,
      'lib/secret.js': 'no',
      'lib/deep/.hidden': '1',
      'a.txt': 'a',
      'docs/a/b.md': 'b',
      'docs/a/b.html': 'no',
      'other/a.js': 'no',
      LICENSE: 'L',
      'LICENCE.md': 'L',
      COPYING: 'no',
      NOTICE: 'N',
      'CHANGELOG.md': 'C',
      'ReadMe.md': 'R',
      HISTORY: 'no',
      'lib/.npmignore': 'quiet.js\n',
      'lib/quiet.js': 'no',
    },
  },
  npmignore: {
    files: {
      '.npmignore': 'test/\n*.log\n!keep.log\n# comment\n\\#hash\n',
      '.gitignore': 'lib/\n',
      'index.js': CODE,
      'lib/a.js': CODE,
      'test/a.js': 'no',
      'a.log': 'no',
      'keep.log': 'k',
      '#hash': 'no',
      'deep/.npmignore': '*.md\n',
      'deep/a.md': 'no',
      'deep/a.js': CODE,
    },
  },
  gitignore: {
    manifest: { main: 'dist/index.js' },
    files: {
      '.gitignore': 'dist/\nbuild\n/top.txt\n',
      'dist/index.js': CODE,
      'dist/other.js': CODE,
      'build/a.js': 'no',
      'top.txt': 'no',
      'deep/top.txt': 'd',
      'deep/.gitignore': '*.tmp\n',
      'deep/a.tmp': 'no',
      'deep/b.js': CODE,
    },
  },
  directories: {
    manifest: { directories: { bin: './commands', man: 'manual', lib: 'lib', doc: 'doc' } },
    files: {
      'commands/first': { text: '#!/bin/sh\necho first\n', mode: 0o644 },
      'commands/second.js': '#!/usr/bin/env node\n',
      'commands/.hidden': 'h',
      'manual/first.1': '.TH',
      'manual/deep/second.5': '.TH',
      'manual/readme.txt': 'no page',
      'lib/index.js': CODE,
      'index.js': CODE,
    },
  },
  man: { rare: true, manifest: { man: './man/page.1' }, files: { 'man/page.1': '.TH', 'index.js': CODE } },
  links: {
    files: { 'index.js': CODE, 'lib/a.js': CODE },
    links: {
      'alias.js': 'index.js',
      library: 'lib',
      'lib/up.js': '../index.js',
      broken: 'nowhere',
      license: '../plain/index.js',
      host: '/etc/hostname',
      root: '../..',
    },
  },
  unicode: {
    manifest: { description: 'Größe – 大小 🎉', keywords: ['größe', '大小'] },
    files: {
      'index.js': CODE,
      'größe.js': CODE,
      // Decomposed. The same name in both spellings has no order for npm but that of the folder.
      'gru\u0308n.js': CODE,
      '日本/語.txt': '語',
      '🎉 party.md': '🎉',
      'a b/c d.js': CODE,
      "it's.js": CODE,
      'semi;colon&.js': CODE,
      'Upper.js': CODE,
      'upper.js': '1',
      '-dash.js': CODE,
      'README.md': '# Größe\n\n大小 🎉\n',
    },
  },
  modes: {
    files: {
      'index.js': CODE,
      'run.sh': { text: '#!/bin/sh\n', mode: 0o755 },
      'private.sh': { text: '#!/bin/sh\n', mode: 0o700 },
      'secret.txt': { text: 's', mode: 0o600 },
      'read-only.txt': { text: 'r', mode: 0o444 },
      'open.txt': { text: 'o', mode: 0o666 },
      'group.sh': { text: '#!/bin/sh\n', mode: 0o754 },
    },
  },
  crlf: {
    manifest: { bin: { crlf: 'cli.js', deep: 'bin/deep.js' } },
    crlf: true,
    files: {
      'cli.js': '#!/usr/bin/env node\r\nconsole.log(1);\r\n',
      'bin/deep.js': '#!/usr/bin/env node\r\n2;\r\n',
      'index.js': 'module.exports = 42;\r\n',
      'README.md': '# CRLF\r\n\r\ntext\r\n',
      '.npmignore': 'no.js\r\n',
      'no.js': 'no',
    },
  },
  'byte-order-mark': { rare: true, mark: true, files: { 'index.js': CODE, 'README.md': '\ufeff# Mark\n' } },
  large: { files: { 'index.js': CODE, 'noise.bin': () => noise(50_000_000) } },
  folders: {
    rare: true,
    files: {
      'index.js': CODE,
      [`${'d/'.repeat(40)}end.js`]: CODE,
      [`${'long-name-'.repeat(18)}/${'n'.repeat(150)}.js`]: CODE,
    },
    folders: ['empty', 'deep/er/empty'],
  },
  'left-out': {
    rare: true,
    files: {
      'index.js': CODE,
      'package-lock.json': '{}',
      'yarn.lock': '',
      'pnpm-lock.yaml': '',
      'bun.lockb': '',
      '.DS_Store': 'no',
      '._x': 'no',
      '.a.swp': 'no',
      'a.orig': 'no',
      core: 'no',
      'deep/core': 'd',
      '.hg/x': 'no',
      'CVS/x': 'no',
      '.svn/x': 'no',
      '.wafpickle-7': 'no',
      'npm-debug.log': 'no',
      'config.gypi': 'no',
      'archived-packages/x': 'a',
      'build/config.gypi': 'no',
      '.env': 'e',
      '.editorconfig': 'e',
      '.eslintrc': '{}',
      '.github/w.yml': 'w',
      'left-out-0.9.0.tgz': 'an older tarball',
    },
  },
  shrinkwrap: {
    rare: true,
    files: {
      'index.js': CODE,
      'npm-shrinkwrap.json':
        '{"name":"shrinkwrap","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"shrinkwrap"}}}',
    },
  },
  fixtures: {
    files: {
      'index.js': CODE,
      'test/fixtures/app/node_modules/dep/index.js': CODE,
      'test/fixtures/app/package.json': '{"name":"app"}',
    },
  },
  modules: {
    rare: true,
    manifest: {
      type: 'module',
      sideEffects: false,
      exports: {
        '.': { types: './esm/index.d.ts', import: './esm/index.js', require: './cjs/index.cjs' },
        './package.json': './package.json',
      },
      imports: { '#x': './esm/index.js' },
    },
    files: {
      'esm/index.js': 'export default 42;\n',
      'esm/index.d.ts': 'export default 42;\n',
      'cjs/index.cjs': CODE,
      'cjs/package.json': '{"type":"commonjs","files":["index.cjs"]}',
      'cjs/extra.js': CODE,
    },
  },
};
