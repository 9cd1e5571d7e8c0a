import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Silence } from '../../src/protocol/silence.ts';

test('who hears nothing asks again, ever more rarely', context => {
  context.mock.timers.enable({ apis: ['setInterval'] });
  let now = 0;
  context.mock.method(performance, 'now', () => now);
  const pass = (seconds: number) => {
    for (let second = 0; second < seconds; second += 1) {
      now += 1000;
      context.mock.timers.tick(1000);
    }
  };
  let expected = true;
  const asked: number[] = [];
  const told: boolean[] = [];
  const silence = new Silence(
    () => expected,
    silent => told.push(silent),
    () => asked.push(now / 1000)
  );
  silence.start();
  pass(300);
  assert.deepEqual(asked, [1, 2, 4, 8, 16, 32, 64, 124, 184, 244]);
  assert.deepEqual(told, [true]);

  // Once it was heard, a pause between two updates is no silence.
  silence.hear();
  asked.length = 0;
  pass(3);
  assert.deepEqual([told, asked], [[true, false], []]);
  pass(2);
  assert.deepEqual([told, asked.length], [[true, false, true], 1]);

  // What is hidden expects nothing.
  expected = false;
  pass(100);
  assert.deepEqual([told, asked.length], [[true, false, true, false], 1]);
  silence.stop();
});
