import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roman } from '@demo/roman';

test('eight is VIII', () => assert.equal(roman(8), 'VIII'));

test('four is IV', () => assert.equal(roman(4), 'IV'));
