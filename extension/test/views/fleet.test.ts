import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  laneHeight,
  latencyRange,
  percent,
  phasesOf,
  rows,
  sameChoice,
  valueText,
  workText,
  type Choice,
  type IFleet
} from '../../src/views/fleet/fleet_data.ts';

const CHOICE: Choice = {
  rate: 7900,
  servers: 2,
  balancers: 1,
  report_interval_micros: 0,
  batch_timeout_micros: 0,
  max_batch_size: 16,
  policy: 'random',
  event: 'loss'
};

function fleet(parts: Partial<IFleet> = {}): IFleet {
  return {
    choice: CHOICE,
    sentence: 'It is lost.',
    policiesSentence: 'They do not differ.',
    requests: 5700,
    seconds: 0.8,
    millis: 126,
    latency: {
      at: [0.21, 0.61],
      p50: [9000, null],
      p99: [14_000, null],
      failed: [0, 12]
    },
    lanes: [
      { server: 0, queue: [1, 2, 3, 4], spells: [{ phase: 'serving', start: 0, end: 0.8 }] },
      {
        server: 1,
        queue: [5, 130, 0, 0],
        spells: [
          { phase: 'slower', start: 0, end: 0.4 },
          { phase: 'lost', start: 0.4, end: 0.7 },
          { phase: 'starting', start: 0.7, end: 0.8 }
        ]
      }
    ],
    policies: [],
    ...parts
  };
}

test('values of the sliders in words', () => {
  assert.deepEqual(
    [
      valueText('rate', 7900),
      valueText('report_interval_micros', 0),
      valueText('report_interval_micros', 2500),
      valueText('batch_timeout_micros', 0),
      valueText('batch_timeout_micros', 500),
      valueText('servers', 4)
    ],
    ['7.9 k/s', 'none', '2.5 ms', '0', '0.50 ms', '4']
  );
});

test('ranges are round, and hold everything that is drawn', () => {
  assert.deepEqual(latencyRange(fleet()), [5000, 20_000]);
  const none = { at: [0.4], p50: [null], p99: [null], failed: [3] };
  assert.deepEqual(latencyRange(fleet({ latency: none })), [1e3, 1e5]);
  assert.equal(laneHeight(fleet()), 150);
  assert.equal(laneHeight(fleet({ lanes: [] })), 1);
});

test('the legend has the phases that occur, but not serving', () => {
  assert.deepEqual(phasesOf(fleet()), ['starting', 'slower', 'lost']);
});

test('the table says what the charts show at each point of the latency', () => {
  assert.deepEqual(rows(fleet()), [
    ['210 ms', '9.0 ms', '14 ms', '0', '2', '130'],
    ['610 ms', '–', '–', '12', '1', '4']
  ]);
});

test('how much was simulated', () => {
  assert.equal(workText(fleet()), '5,700 requests, 800 ms of virtual time; simulated in 126 ms');
});

test('shares are not rounded to nothing', () => {
  assert.deepEqual([0, 0.0004, 0.082, 0.63, 1].map(percent), [
    ...['0.0 %', '< 0.1 %', '8.2 %', '63 %', '100 %']
  ]);
});

test('choices are the same only with the same policy and event too', () => {
  assert.equal(sameChoice(CHOICE, { ...CHOICE }), true);
  assert.equal(sameChoice(CHOICE, { ...CHOICE, servers: 3 }), false);
  assert.equal(sameChoice(CHOICE, { ...CHOICE, event: 'nothing' }), false);
});
