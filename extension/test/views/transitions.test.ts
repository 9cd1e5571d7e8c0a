import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  FAILED,
  HELD,
  SHORTEST,
  SharedAxes,
  momentText,
  sinceText,
  type IRun
} from '../../src/views/transitions/transitions_data.ts';

function run(changes: Partial<IRun> = {}): IRun {
  return {
    title: 'unload_first',
    head: '2 failed, away 400 ms',
    old: 1,
    new: 2,
    start: -1,
    end: 3,
    spans: [
      { version: 1, state: 'AVAILABLE', start: -1, end: 0.1 },
      { version: 2, state: 'LOADING', start: 0.1, end: 0.5 },
      { version: 2, state: 'AVAILABLE', start: 0.5, end: 3 }
    ],
    gaps: [[0.1, 0.5]],
    decisions: [{ at: 0, text: 'unload version 1: its memory is needed first' }],
    memory: {
      at: [-1, 0, 1],
      by: [
        [1, [2 ** 20, 2 ** 20, 0]],
        [2, [0, 2 ** 20, 3 * 2 ** 20]]
      ]
    },
    dots: [
      [0.2, 0, 0, FAILED],
      [0.22, 0, 0, FAILED],
      [0.23, 300_000, 2, HELD],
      [2, 4000, 2, 0]
    ],
    ...changes
  };
}

test('all panels share versions, heights and the time that was recorded', () => {
  const axes = new SharedAxes([run(), run({ new: 3, start: -2, end: 2 })], [-0.5, 1.5]);
  assert.deepEqual(axes.versions, [1, 2, 3]);
  assert.equal(axes.mostMemory, 3 * 2 ** 20 * 1.15);
  assert.deepEqual(axes.latencies, [1000 / 1.5, 600_000]);
  assert.deepEqual(axes.whole, [-2, 3]);
  assert.deepEqual([axes.start, axes.end], [-0.5, 1.5]);
});

test('zoom keeps what is pointed at, and goes no further than what was recorded', () => {
  const axes = new SharedAxes([run()], [-0.5, 1.5]);
  axes.zoom(0.5, 0);
  assert.deepEqual([axes.start, axes.end], [-0.25, 0.75]);
  axes.zoom(100);
  assert.deepEqual([axes.start, axes.end], [-1, 3]);
  axes.zoom(1e-6);
  assert.ok(Math.abs(axes.span - SHORTEST) < 1e-9);
  axes.reset();
  assert.deepEqual([axes.start, axes.end], [-0.5, 1.5]);
  axes.pan(-5);
  assert.deepEqual([axes.start, axes.end], [-1, 1]);
  axes.pan(5);
  assert.deepEqual([axes.start, axes.end], [1, 3]);
});

test('a moment steps along, and what is seen goes with it', () => {
  const axes = new SharedAxes([run()], [-0.5, 0.5]);
  axes.step(0.1);
  assert.equal(axes.moment, 0.1);
  axes.step(1);
  assert.equal(axes.moment, 1.1);
  assert.ok(axes.start < 1.1 && axes.end > 1.1);
  axes.step(100);
  assert.equal(axes.moment, 3);
});

test('a moment in words: states, memory, requests near it, decisions', () => {
  assert.equal(
    momentText(run(), 0.02),
    'version 1 available; 2.0 MB. Policy: unload version 1: its memory is needed first'
  );
  assert.equal(
    momentText(run(), 0.2),
    'version 2 loading; 2.0 MB; slowest answer 300 ms; 2 failed'
  );
  assert.equal(momentText(run(), 2), 'version 2 available; 3.0 MB; slowest answer 4.0 ms');
  assert.equal(momentText(run({ spans: [] }), 1.5), 'no version; 3.0 MB');
  assert.equal(momentText(run(), 9), 'not recorded');
  assert.deepEqual([sinceText(0.256, 1), sinceText(-0.3, 10)], ['0.26 s', '-0.3 s']);
});
