import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  SweepData,
  intervalText,
  percent,
  reasonShares,
  largestBatch,
  spread,
  valueText,
  type IPoint,
  type Setting
} from '../../src/views/sweep/sweep_data.ts';

const SETTING: Setting = {
  batch_timeout_micros: 1000,
  max_batch_size: 32,
  num_batch_threads: 2,
  rate: 500
};

function point(changes: Partial<Setting> = {}, figures: Partial<IPoint> = {}): IPoint {
  return {
    setting: { ...SETTING, ...changes },
    offered: 500,
    achieved: [480, 490, 500],
    p50: [1000, 1000, 1000],
    p90: [2000, 2000, 2000],
    p99: [3000, 4000, null],
    sizes: [
      [1, 30],
      [32, 10]
    ],
    reasons: { full: 10, timeout: 30 },
    batchRows: 8.75,
    rejected: 0,
    occupancy: 0.5,
    verdict: 'stable',
    verdictText: 'stable',
    diagnoses: [],
    ...figures
  };
}

function data(parts: Partial<SweepData> = {}): SweepData {
  const made = new SweepData();
  made.scales = {
    batch_timeout_micros: [0, 100, 130, 160, 200, 500, 1000, 2000],
    max_batch_size: [1, 2, 4, 8, 16, 32],
    num_batch_threads: [1, 2, 3, 4],
    rate: [100, 500, 1000]
  };
  made.setting = { ...SETTING };
  return Object.assign(made, parts);
}

test('a value has its place on its scale, also between two steps and beyond the ends', () => {
  const places = [0, 100, 150, 2000, 9000].map(v => data().place('batch_timeout_micros', v));
  assert.deepEqual(
    places.map(place => Number(place.toFixed(2))),
    [0, 1, 2.67, 7, 7]
  );
});

test('what is under the sliders is found among what was simulated and measured', () => {
  const old = point({}, { batchRows: 1 });
  const last = point({}, { batchRows: 2 });
  const made = data({
    curve: [point({ batch_timeout_micros: 0 }), point()],
    measured: [old, last, point({ rate: 100 })]
  });
  assert.equal(made.here, made.curve[1]);
  assert.equal(made.measuredHere, last);
  made.setting = { ...SETTING, rate: 1000 };
  assert.equal(made.here, null);
  assert.equal(made.measuredHere, null);
});

test('a point lies on the curve when only the axis is another', () => {
  const made = data();
  assert.equal(made.onCurve(point({ batch_timeout_micros: 0 })), true);
  assert.equal(made.onCurve(point({ rate: 100 })), false);
  made.axis = 'rate';
  assert.equal(made.onCurve(point({ batch_timeout_micros: 0 })), false);
  assert.equal(made.onCurve(point({ rate: 100 })), true);
});

test('a curve is fresh only for the sliders and the axis that it was simulated for', () => {
  const made = data({ curveSetting: { ...SETTING } });
  assert.equal(made.fresh, true);
  made.setting = { ...SETTING, batch_timeout_micros: 100 };
  assert.equal(made.fresh, false);
  made.setting = { ...SETTING };
  made.axis = 'rate';
  assert.equal(made.fresh, false);
});

test('ranges are round, and hold everything that is drawn', () => {
  const made = data({ curve: [point()], measured: [point({}, { p99: [1, 25_000, null] })] });
  assert.deepEqual(made.latencyRange(), [500, 50_000]);
  assert.equal(made.mostThroughput(), 600);
  assert.deepEqual(data().latencyRange(), [500, 100_000]);
});

test('few places of the axis are labelled, round ones where there are some', () => {
  const made = data();
  assert.deepEqual(made.splits(3), [0, 4, 6]);
  made.axis = 'max_batch_size';
  assert.deepEqual(made.splits(10), [0, 1, 2, 3, 4, 5]);
});

test('values and intervals in words', () => {
  assert.equal(valueText('batch_timeout_micros', 2500), '2.5 ms');
  assert.equal(intervalText([1, 2, null], String), '2 (1 to ?)');
  assert.equal(intervalText([2, 2, 2], String), '2');
  assert.equal(intervalText(null, String), '–');
  assert.deepEqual([0, 0.001, 0.5].map(percent), ['0 %', '< 1 %', '50 %']);
});

test('the summary and the table say what the charts show', () => {
  const made = data({ curve: [point()], measured: [point({ rate: 100 })] });
  assert.equal(
    made.summary(),
    'Simulated: 490 requests/s, p99 4.0 ms, 8.8 rows per batch, stable.'
  );
  assert.deepEqual(
    made.rows().map(row => row.slice(0, 9)),
    [
      [
        ...['simulated', '1.0 ms', '32', '2', '500/s', '490 (480 to 500)'],
        ...['1.0 ms', '2.0 ms', '4.0 ms (3.0 ms to ?)']
      ],
      [
        ...['measured', '1.0 ms', '32', '2', '100/s', '490 (480 to 500)'],
        ...['1.0 ms', '2.0 ms', '4.0 ms (3.0 ms to ?)']
      ]
    ]
  );
});

test('names beside the ends of lines keep apart, in their order', () => {
  assert.deepEqual(spread([30, 10, 12], 12), [34, 10, 22]);
  assert.deepEqual(spread([50, 10, 30], 12), [50, 10, 30]);
});

test('close reasons become shares, and the largest batch of two points is known', () => {
  assert.equal(largestBatch(null, point(), null), 32);
  assert.equal(largestBatch(null), 1);
  assert.deepEqual(reasonShares(point()), [0.25, 0.75, 0, 0, 0]);
});
