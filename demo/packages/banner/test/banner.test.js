import assert from 'node:assert/strict';
import { test } from 'node:test';
import { banner } from '@demo/banner';

test('a box is as wide as it was asked to be', () => {
  const lines = banner('first-build', 'every package in its own time', 20).split('\n');
  assert.deepEqual(lines, [
    '┌ First Build ─────┐',
    '│ every package in │',
    '│ its own time     │',
    '└──────────────────┘',
  ]);
});
