import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hour } from '@demo/clock';

test('three in the afternoon is III', () => {
  assert.equal(hour(new Date(2024, 0, 1, 15)), 'III');
});
