// The results as Markdown.

import { compare } from './compare.mjs';

const BAR = 0.95;

/** What a line must have to be a reason, and must not have. */
const TELLS = /error|fail|not found|cannot|^(✕|✖|●|×|not ok)/i;
const SAYS_NOTHING = /^(✓|√|✔|ok\b)|^npm (error|warn)\b.*(\blog\b|lifecycle|path|workspace|location|^npm error code)/i;

const COLUMNS = ['workspace', 'changed for both sides', 'public packages', 'control passes', 'published of these',
  'same file list', 'same bytes', "control's list is the registry's", "Packline's list is the registry's",
  'control, s', 'Packline, s'];

/** The whole report of workspaces `[{ controls, packline, registry }]`. */
export function report(workspaces) {
  const all = workspaces.map((each) => ({ ...each, packages: compare(each.controls, each.packline, each.registry) }));
  const lines = [row(COLUMNS), row(COLUMNS.map(() => '---')), ...all.map((each) => row(cells(each)))];
  lines.push('', ...(all.some(({ packline }) => packline) ? bars(all) : halves(all)), '');
  for (const each of all) lines.push(...details(each));
  return `${lines.join('\n')}\n`;
}

const row = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;

const of = (some, all) => `${some.length} of ${all.length}`;

function groups(packages) {
  const passing = packages.filter(({ passes }) => passes);
  const published = passing.filter(({ ours }) => ours?.published);
  const list = published.filter(({ difference }) => difference.sameList);
  const bytes = published.filter(({ difference }) => difference.sameBytes);
  return { passing, published, list, bytes, both: list.filter((each) => bytes.includes(each)) };
}

function cells({ controls, packline, packages }) {
  const { passing, published, list, bytes } = groups(packages);
  const { programs, patch, runs } = controls;
  const changed = [patch && 'patch', programs && Object.entries(programs).map(([name, version]) => `${name} ${version}`).join(', ')];
  const known = (side) => packages.filter((each) => each[side]);
  const ran = (text) => (packline ? text : '–');
  const same = (side) => of(known(side).filter((each) => each[side].sameList), known(side));
  return [controls.name, changed.filter(Boolean).join('; ') || '–', packages.length, passing.length,
    ran(of(published, passing)), ran(of(list, published)), ran(of(bytes, published)),
    same('control'), ran(same('registry')), runs.map(({ seconds }) => seconds).join(', '), ran(packline?.seconds)];
}

/** Whether the bar is met, over all workspaces together. */
function bars(all) {
  const found = groups(all.filter(({ packline }) => packline).flatMap(({ packages }) => packages));
  const bar = (what, some, of) => {
    const share = of.length === 0 ? 0 : some.length / of.length;
    return `- ${what}: ${some.length} of ${of.length}, ${(100 * share).toFixed(1)} %, ${share >= BAR ? 'met' : 'not met'}`;
  };
  return [
    bar('Published of the packages whose control passes (95 %)', found.published, found.passing),
    bar("The control's file list and bytes (95 %)", found.both, found.published),
    ...halves(all),
  ];
}

/** The workspaces whose control shows too little. */
function halves(all) {
  const half = ({ packages }) => packages.filter(({ passes }) => passes).length * 2 < packages.length || packages.length === 0;
  const next = 'the control passes for fewer than half; run the next workspace of the same manager as well';
  return all.filter(half).map(({ controls }) => `- ${controls.name}: ${next}`);
}

/** Why packages are not there, or not the same. */
function details({ controls, packline, packages }) {
  const lines = [`## ${controls.name}`, ''];
  const [run] = controls.runs;
  lines.push(`Commit ${controls.commit.slice(0, 12)}, Node ${run.tools.node.slice(1)}, ${tools(run.tools)}.`);
  if (controls.note) lines.push(controls.note);
  if (!run.install.ok) lines.push(`- the install fails: ${reason(run.install)}`);
  if (run.build) lines.push(`- root build: \`${run.build.script}\`, ${run.build.ok ? `${run.build.seconds} s` : reason(run.build)}`);
  const without = (kind) => packages.filter(({ test }) => test === kind).length;
  if (without('none')) lines.push(`- no \`test\` of its own: ${without('none')} packages`);
  if (without('stub')) lines.push(`- \`test\` only prints and fails, no test: ${without('stub')} packages`);
  if (run.rootTest?.ran) {
    lines.push(`- tests at the root: ${run.rootTest.ok ? `pass, ${run.rootTest.seconds} s` : reason(run.rootTest)}`);
  }
  if (packline && !packline.ok && typeof packline.status === 'string') lines.push(`- \`packline up\`: ${packline.status}`);
  for (const each of packages) lines.push(...[...ofPackage(each)].map((line) => `- ${each.name}: ${line}`));
  return [...lines, ''];
}

function* ofPackage({ passes, flaky, failed, unstable, ours, difference, control, absent }) {
  if (flaky) yield 'passes in one control only';
  if (!passes && failed) yield `control fails at ${failed.step}: ${reason(failed)}`;
  if (unstable) yield `${unstable} files differ between the controls`;
  if (ours && !ours.published && passes) yield `not published: ${ours.outcome ?? 'not in the table'}, ${ours.reason ?? 'no reason'}`;
  if (difference) yield* differences(difference, 'than the control');
  if (absent) yield 'the registry does not have this version';
  if (control && !control.sameList) yield* differences({ ...control, other: [], modes: [] }, 'in the control than on the registry');
}

function* differences({ more, less, other, modes }, beside) {
  const some = (paths) => `${paths.slice(0, 5).join(', ')}${paths.length > 5 ? ` and ${paths.length - 5} more` : ''}`;
  if (more.length) yield `${more.length} files more ${beside}: ${some(more)}`;
  if (less.length) yield `${less.length} files less ${beside}: ${some(less)}`;
  if (other.length) yield `${other.length} files with other bytes ${beside}: ${some(other)}`;
  if (modes.length) yield `${modes.length} files executable in one only, ${beside}: ${some(modes)}`;
}

/** The line of an output that says most, and the status. */
function reason({ status, last = '' }) {
  const lines = last.split('\n').map((line) => line.trim());
  const told = lines.find((line) => TELLS.test(line) && !SAYS_NOTHING.test(line)) ?? lines.at(-1) ?? '';
  const ended = typeof status === 'number' ? `status ${status}` : status;
  return `${ended}, \`${told.slice(0, 200).replaceAll('`', "'")}\``;
}

/** The manager with its version. */
function tools({ node: _node, ...others }) {
  return Object.entries(others).map(([name, version]) => `${name} ${version}`).join(', ');
}
