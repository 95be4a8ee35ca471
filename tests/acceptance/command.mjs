// Commands of others: their environment, their output in a file, and an end after which nothing of them is left.

import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

/** What a build may have of the environment of this process. */
const KEPT = /^(PATH|LANG|LC_\w+|TZ|(https?|no)_proxy|(HTTPS?|NO)_PROXY|SSL_CERT_\w+|NODE_EXTRA_CA_CERTS)$/;

/** The environment of a run, with an empty home below `folder`. Remove its TMPDIR after it. */
export function environment(folder, { programs = [], cache } = {}) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => KEPT.test(name)));
  // Tools put sockets into TMPDIR, whose paths have no more than 107 bytes.
  const own = { HOME: `${folder}/home`, TMPDIR: mkdtempSync(join(tmpdir(), 'a-')) };
  mkdirSync(own.HOME, { recursive: true });
  const path = [...programs, env.PATH].join(':');
  return { ...env, ...own, PATH: path, CI: 'true', TERM: 'dumb', ...(cache && caches(cache)) };
}

/** Where each manager keeps what it downloads. */
const caches = (folder) => ({
  npm_config_cache: folder,
  npm_config_store_dir: `${folder}/pnpm`,
  pnpm_config_store_dir: `${folder}/pnpm`,
  YARN_GLOBAL_FOLDER: `${folder}/yarn`,
  YARN_CACHE_FOLDER: `${folder}/yarn-cache`,
});

/**
 * Runs a command and answers `{ ok, status, seconds, last }`: `last` has the last lines where it failed.
 * The output goes to the file `log`. After `minutes` the command and all of its group are killed.
 */
export function run(words, { cwd, env, log, minutes = 20, stdout }) {
  mkdirSync(dirname(log), { recursive: true });
  const file = openSync(log, 'w');
  const started = Date.now();
  return new Promise((resolve) => {
    const child = spawn(words[0], words.slice(1), {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', stdout ? 'pipe' : file, file],
    });
    const kill = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // All of the group has ended.
      }
    };
    let late = false;
    let over = false;
    const timer = setTimeout(() => {
      late = true;
      kill();
    }, minutes * 60_000);
    const heard = [];
    child.stdout?.on('data', (data) => heard.push(data));
    child.on('error', (error) => end(`does not run: ${error.message}`));
    child.on('close', (code, signal) => end(late ? `killed after ${minutes} minutes` : (signal ?? code)));
    function end(status) {
      // A program that cannot be started is told of twice.
      if (over) return;
      over = true;
      clearTimeout(timer);
      kill();
      closeSync(file);
      const ok = status === 0;
      const seconds = Math.round((Date.now() - started) / 100) / 10;
      const out = stdout && Buffer.concat(heard).toString();
      resolve({ ok, status, seconds, ...(stdout && { out }), ...(!ok && { last: lastLines(log) }) });
    }
  });
}

/** The same, where a failure ends everything. */
export async function must(words, options) {
  const ended = await run(words, options);
  if (!ended.ok) throw new Error(`${words.join(' ')}: ${ended.status}\n${ended.last}`);
  return ended;
}

/** Lines that name what failed, as far as they come before the last lines; then those. */
function lastLines(log, count = 10) {
  const lines = stripVTControlCharacters(readFileSync(log, 'utf8')).split('\n').map((line) => line.trimEnd()).filter(Boolean);
  const named = lines.slice(0, -count).filter((line) => /^\s*(✕|✖|●|×|not ok\b|FAIL\b|\d+\) )|\berror TS\d/.test(line));
  return [...new Set(named.slice(0, 5)), ...lines.slice(-count)].join('\n');
}
