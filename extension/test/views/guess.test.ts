import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Guess } from '../../src/views/guess/guess_data.ts';

test('a stroke gives a value to every place that it passes, in either direction', () => {
  for (const [from, to] of [
    [
      { x: 0, y: 0 },
      { x: 2, y: 20 }
    ],
    [
      { x: 2, y: 20 },
      { x: 0, y: 0 }
    ]
  ]) {
    const guess = new Guess([0, 1, 2, 3]);
    guess.stroke(from, to);
    assert.deepEqual(guess.values, [0, 10, 20, null]);
    assert.equal(guess.values.includes(null), true);
  }
});

test('a tap means the nearest place', () => {
  const guess = new Guess([0, 1, 2]);
  guess.stroke({ x: 1.3, y: 7 }, { x: 1.3, y: 7 });
  assert.deepEqual(guess.values, [null, 7, null]);
});

test('it is complete when every place has a value', () => {
  const guess = new Guess([0, 1]);
  guess.stroke({ x: -1, y: 4 }, { x: 3, y: 4 });
  assert.deepEqual(guess.values, [4, 4]);
  assert.equal(guess.values.includes(null), false);
});
