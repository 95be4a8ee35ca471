import assert from 'node:assert/strict';
import { test } from 'node:test';
import { camel, kebab, title } from '@demo/case';

test('one name in three cases', () => {
  assert.equal(camel('build every package'), 'buildEveryPackage');
  assert.equal(kebab('buildEveryPackage'), 'build-every-package');
  assert.equal(title('build_every-package'), 'Build Every Package');
});

test('nothing stays nothing', () => {
  assert.equal(camel(''), '');
  assert.equal(title(' '), '');
});
