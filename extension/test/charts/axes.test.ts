import assert from 'node:assert/strict';
import { test } from 'node:test';

import { oneTwoFives } from '../../src/charts/axes.ts';

test('round values of an axis of equal ratios', () => {
  assert.deepEqual(oneTwoFives(0.9, 11), [1, 2, 5, 10]);
  assert.deepEqual(oneTwoFives(0.03, 0.2), [0.05, 0.1, 0.2]);
  assert.deepEqual(oneTwoFives(2.1, 4.9), []);
});
