import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hen } from '@demo/hen';

test('a hen lays an egg', () => assert.equal(hen().lays().kind, 'egg'));
