import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pad, version, width, words } from '@demo/text';

test('words are found in names of any case', () => {
  assert.deepEqual(words('one two'), ['one', 'two']);
  assert.deepEqual(words('oneTwo-three_four'), ['one', 'Two', 'three', 'four']);
  assert.deepEqual(words('  '), []);
});

test('an accent has no width of its own', () => {
  assert.equal(width('cafe\u0301'), 4);
  assert.equal(pad('cafe\u0301', 6), 'cafe\u0301  ');
});

test('what is published knows its version', () => {
  assert.match(version, /^\d+\.\d+\.\d+$/);
});
