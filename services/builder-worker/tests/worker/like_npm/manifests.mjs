// Packages that differ in what their package.json says, and in what npm finds beside it.

import { CODE } from './code.mjs';

function many(count, name) {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`${name}-${(n * 37) % count}`, `^${n}.0.0`]));
}

export const manifests = {
  prerelease: { tag: 'beta', manifest: { version: '1.0.0-beta.2' }, files: { 'index.js': CODE } },
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
  'v-version': { manifest: { version: 'v1.2.3' }, files: { 'index.js': CODE } },
  'spaced-version': { rare: true, manifest: { version: ' =1.2.4 ' }, files: { 'index.js': CODE } },
  'build-metadata': { manifest: { version: '1.2.3+build.5' }, files: { 'index.js': CODE } },
  'readme-several': {
    files: { 'index.js': CODE, README: 'plain\n', 'README.txt': 'text\n', 'README.md': '# md\n', 'readme.js': '1' },
  },
  'readme-text': {
    rare: true,
    manifest: { readme: 'said in the manifest', readmeFilename: 'nowhere.md' },
    files: { 'index.js': CODE, 'README.md': 'file\n' },
  },
  'readme-empty': { rare: true, files: { 'index.js': CODE, 'README.md': '' } },
  authors: {
    files: {
      'index.js': CODE,
      'readme.markdown': 'lower\n',
      AUTHORS: '# people\nAnn <ann@example.com> (https://ann.example)\n\nBob\n',
    },
  },
  'repository-gitlab': {
    rare: true,
    manifest: { repository: { url: 'gitlab:acme/thing', directory: './packages/x' }, bugs: {} },
    files: { 'index.js': CODE },
  },
  'people-text': {
    manifest: {
      author: 'Ann Other <ann@example.com> (https://ann.example)',
      contributors: ['Bob <bob@example.com>', { name: 'Eve', mail: 'e@example.com' }],
      maintainers: 'Cy (https://cy.example)',
      license: 'MIT',
      bugs: 'https://example.com/bugs',
      homepage: 'example.com/home',
      keywords: 'one, two  three',
      repository: 'https://github.com/acme/thing',
      funding: 'https://example.com/fund',
      engines: 'node >= 10',
      description: '  spaces \n',
      licence: 'ISC',
    },
    files: { 'index.js': CODE },
  },
  'odd-manifest': {
    manifest: {
      dependencies: ['a@1', 'b'],
      optionalDependencies: { c: '1', d: '^2' },
      peerDependencies: { e: '*' },
      bugs: 'bugs@example.com',
      keywords: ['k', '', ' l '],
      files: ['index.js', ''],
      bin: {},
      scripts: { test: './node_modules/.bin/tap', odd: 5 },
      modules: 1,
      bundleDependencies: false,
      typings: 'x.d.ts',
      main: './index.js',
      module: 'm.mjs',
      _id: 'x',
      _private: 1,
      __proto: 2,
      exports: { '.': './index.js' },
    },
    files: { 'index.js': CODE, 'index.d.ts': 'export {};\n' },
  },
  numbers: {
    rare: true,
    manifest: {
      config: {
        port: 8080,
        half: 0.5,
        whole: 'raw:1.0',
        big: 'raw:12345678901234567890',
        small: 1e-7,
        minus: 'raw:-0',
      },
    },
    files: { 'index.js': CODE },
  },
  'implied-scripts': { files: { 'server.js': CODE, 'binding.gyp': '{}' } },
  'gyp-named': {
    rare: true,
    manifest: { gypfile: false },
    files: { 'other.gyp': '{}', 'binding.gyp': '{}', 'index.js': CODE },
  },
  'types-beside': {
    manifest: { main: './lib/index.js', repository: 'github:acme/thing' },
    files: { 'lib/index.js': CODE, 'lib/index.d.ts': 'declare const x: 42;\nexport = x;\n' },
  },
  'types-of-index': { rare: true, files: { 'index.js': CODE, 'index.d.ts': 'export {};\n' } },
  '@acme/publish-access': { manifest: { publishConfig: { access: 'restricted' } }, files: { 'index.js': CODE } },
  'publish-tag': {
    manifest: { version: '2.0.0-rc.1', publishConfig: { tag: 'next', access: 'public' } },
    files: { 'index.js': CODE },
  },
  'big-manifest': {
    rare: true,
    manifest: {
      zeta: 1,
      alpha: { b: [1, { a: null }], a: true },
      10: 'ten',
      9: 'nine',
      dependencies: many(400, 'dependency'),
      devDependencies: many(200, 'tool'),
      scripts: Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`task:${n}`, `echo ${n} "$HOME" && exit`])),
      text: '\u2028 \u0001 " \\ / </script> é \ud83c\udf89',
      exports: Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`./m${n}`, './index.js'])),
    },
    files: { 'index.js': CODE },
  },
};
