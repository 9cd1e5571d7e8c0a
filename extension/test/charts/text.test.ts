import assert from 'node:assert/strict';
import { test } from 'node:test';

import { goodputText } from '../../src/charts/text.ts';

test('goodput is rounded down, and absent without a wanted latency', () => {
  assert.equal(goodputText(1000, 999, 20), '99.9 % within 20 ms');
  assert.equal(goodputText(100_000, 99_999, 20), '99.9 % within 20 ms');
  assert.equal(goodputText(10, 10, 0.5), '100.0 % within 0.5 ms');
  assert.equal(goodputText(0, 0, 20), '– within 20 ms');
  assert.equal(goodputText(10, 10), '');
  assert.equal(goodputText(10, 10, null), '');
});
