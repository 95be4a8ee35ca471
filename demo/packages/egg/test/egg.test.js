import assert from 'node:assert/strict';
import { test } from 'node:test';
import { egg } from '@demo/egg';

test('an egg becomes a hen', () => assert.equal(egg().hatches().kind, 'hen'));
