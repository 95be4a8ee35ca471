// What the parts of the npm on the PATH say of the same files. A question on stdin, its answer on stdout, both JSON.
import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';

const npm = realpathSync(execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim());
const require = createRequire(npm);

// Folders of the members, for each value of `workspaces`; null where npm refuses.
async function members({ root, workspaces }) {
  const map = require('@npmcli/map-workspaces');
  const answers = [];
  for (const value of workspaces) {
    try {
      const found = await map({ cwd: root, pkg: { workspaces: value } });
      answers.push([...found.values()].map((path) => relative(root, path)).sort());
    } catch (error) {
      answers.push(null);
    }
  }
  return answers;
}

// Whether each version satisfies each range, as npm asks it.
function ranges({ pairs }) {
  const semver = require('semver');
  return pairs.map(([range, version]) => range.trim() === '' || range.trim() === '*' || semver.satisfies(version, range, true));
}

// For each member, which dependencies a link to the member of that name is right for, in a tree that has all of them.
async function links({ root }) {
  const Arborist = require('@npmcli/arborist');
  const tree = await new Arborist({ path: root }).loadActual();
  const links = {};
  for (const link of tree.children.values()) {
    const edges = [...link.target.edgesOut.values()].filter((edge) => edge.to?.isLink && edge.valid);
    links[relative(root, link.target.path)] = edges.map((edge) => relative(root, edge.to.target.path)).sort();
  }
  return links;
}

const question = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(await { members, ranges, links }[question.ask](question)));
