// Packages whose scripts run before and after they are packed and published.

import { CODE } from './code.mjs';

/** A command that writes a file, and costs no start of Node. */
const writes = (file, text) => `printf '${text}' > ${file}`;

/** A command that leaves what an install would: `node_modules` of a source folder are not copied to a build. */
function installs(packages) {
  const commands = Object.entries(packages).flatMap(([folder, manifest]) => [
    `mkdir -p node_modules/${folder}`,
    writes(`node_modules/${folder}/package.json`, JSON.stringify(manifest)),
  ]);
  return commands.join(' && ');
}

/** Tells the registry that a script runs, and what it finds around it. */
const BEACON = `
const { basename } = require('path');
const env = process.env;
const named = ['npm_lifecycle_event', 'npm_lifecycle_script', 'npm_package_name', 'npm_package_version',
  'npm_package_engines_node', 'npm_package_config_port', 'npm_package_bin_each', 'npm_command',
  'npm_config_user_agent'];
const seen = Object.fromEntries(named.map((name) => [name, env[name]]));
seen.npm_package_json = env.npm_package_json && require(env.npm_package_json).name;
seen.cwd = require(process.cwd() + '/package.json').name;
seen.INIT_CWD = env.INIT_CWD && basename(env.INIT_CWD);
seen.npm_execpath = env.npm_execpath && basename(env.npm_execpath);
seen.npm_node_execpath = env.npm_node_execpath && basename(env.npm_node_execpath);
seen.PATH = env.PATH.split(':').filter((part) => part.endsWith('each-script/node_modules/.bin')).length;
seen.token = Object.keys(env).filter((name) => env[name].includes('token-of-nobody'));
const url = env.npm_config_registry.replace(/\\/$/, '') + '/-/beacon/' + process.argv[2];
fetch(url, { method: 'POST', body: JSON.stringify(seen) }).catch(() => process.exit(1));
`;

export const scripts = {
  bundled: {
    manifest: {
      bundledDependencies: ['inner'],
      dependencies: { inner: '1.0.0', outer: '^2.0.0' },
      scripts: {
        prepack: installs({
          inner: { name: 'inner', version: '1.0.0', dependencies: { innermost: '1' } },
          'inner/node_modules/innermost': { name: 'innermost', version: '1.0.0' },
          outer: { name: 'outer', version: '2.0.0' },
        }),
      },
    },
    files: { 'index.js': CODE },
  },
  'bundled-all': {
    rare: true,
    manifest: {
      bundleDependencies: true,
      dependencies: { inner: '1.0.0' },
      scripts: { prepack: installs({ inner: { name: 'inner', version: '1.0.0' } }) },
    },
    files: { 'index.js': CODE },
  },
  'prepublish-only': {
    manifest: {
      main: 'dist/index.js',
      files: ['dist'],
      scripts: { prepublishOnly: `mkdir dist && ${writes('dist/index.js', 'module.exports = 42')}` },
    },
    files: { 'src/index.js': CODE },
  },
  'prepublish-manifest': {
    rare: true,
    manifest: {
      version: '0.0.1',
      main: 'index.js',
      scripts: { prepublishOnly: "sed -i 's/0\\.0\\.1/0.0.2/' package.json" },
    },
    files: { 'index.js': CODE },
  },
  'prepack-restored': {
    manifest: {
      description: 'DURING WORK',
      devDependencies: { tool: '1' },
      scripts: {
        prepack: "cp package.json .kept && sed -i 's/DURING WORK/PACKED/' package.json",
        postpack: 'mv .kept package.json',
      },
    },
    files: { 'index.js': CODE },
  },
  prepare: {
    manifest: {
      main: 'built.js',
      types: 'built.d.ts',
      scripts: { prepare: `${writes('built.js', 'module.exports = 42')} && ${writes('built.d.ts', 'export {}')}` },
    },
    files: { 'index.js': CODE, '.gitignore': 'built.*\n' },
  },
  'readme-built': {
    rare: true,
    manifest: { scripts: { prepack: writes('README.md', 'built') } },
    files: { 'index.js': CODE },
  },
  'each-script': {
    manifest: {
      bin: { each: 'index.js' },
      engines: { node: '>=18' },
      config: { port: 8080 },
      scripts: Object.fromEntries(
        [
          'preinstall',
          'install',
          'postinstall',
          'prepublish',
          'preprepare',
          'prepare',
          'postprepare',
          'prepublishOnly',
          'prepack',
          'postpack',
          'publish',
          'postpublish',
        ].map((script) => [script, `node beacon.cjs ${script}`]),
      ),
    },
    files: { 'index.js': '#!/usr/bin/env node\n1;\n', 'beacon.cjs': BEACON },
  },
};
