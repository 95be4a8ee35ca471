import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wrap } from '@demo/wrap';

test('lines are as long as they may be', () => {
  assert.deepEqual(wrap('a line of some words', 9), ['a line of', 'some', 'words']);
  assert.deepEqual(wrap('incomprehensible', 5), ['incomprehensible']);
  assert.deepEqual(wrap('', 5), []);
});

// Flaky on purpose: the first two attempts of Packline fail here. By hand (no ATTEMPT) it passes.
test('works on the third attempt', () => {
  const attempt = Number(process.env.ATTEMPT ?? 3);
  assert.ok(attempt >= 3, `attempt ${attempt}: not today, perhaps at the third`);
});
