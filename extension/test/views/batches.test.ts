import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  BatchHistory,
  diagnosis,
  type IBatchCounts
} from '../../src/views/batches/batches_data.ts';

function counts(batches: number, rows: number, more: Partial<IBatchCounts> = {}): IBatchCounts {
  return {
    batches,
    rows,
    requests: rows,
    padding: 0,
    queued_micros: 1000 * rows,
    request_run_micros: 500 * rows,
    rejected: 0,
    reasons: { executor_idle: batches },
    sizes: { [String(rows / Math.max(1, batches))]: batches },
    ...more
  };
}

test('only what happened within the span counts', () => {
  const history = new BatchHistory();
  history.add(0, [{ version: 1, batches: counts(100, 100) }]);
  history.add(30, [{ version: 1, batches: counts(110, 110) }]);
  history.add(40, [
    { version: 1, batches: counts(110, 130, { sizes: { '1': 110, '10': 2 } }) },
    { version: 2, batches: counts(5, 40) }
  ]);
  const all = history.within(60);
  assert.deepEqual([all.seconds, all.batches, all.rows], [40, 15, 70]);
  const late = history.within(10);
  assert.deepEqual([late.seconds, late.batches, late.rows], [10, 5, 60]);
  assert.deepEqual([...late.sizes].sort(), [
    [10, 2],
    [8, 5]
  ]);
  assert.deepEqual([late.queued, late.run], [1000, 500]);
});

test('a version that was loaded again begins with nothing', () => {
  const history = new BatchHistory();
  history.add(0, [{ version: 1, batches: counts(100, 100) }]);
  history.add(10, [{ version: 1, batches: counts(7, 7) }]);
  assert.equal(history.within(60).batches, 7);
});

test('many looks a second are kept as one', () => {
  const history = new BatchHistory(10);
  for (let i = 0; i <= 200; i += 1) {
    history.add(i / 10, [{ version: 1, batches: counts(i, i) }]);
  }
  const late = history.within(10);
  assert.ok(late.seconds > 8 && late.seconds <= 10);
  assert.equal(late.batches, Math.round(10 * late.seconds));
});

test('a clock that goes back is a new server', () => {
  const history = new BatchHistory();
  history.add(100, [{ version: 1, batches: counts(50, 50) }]);
  history.add(3, [{ version: 1, batches: counts(60, 60) }]);
  assert.equal(history.within(60).seconds, 0);
});

test('the diagnosis names what closes most batches', () => {
  const mixed = { '6': 5, '10': 5 };
  const of = (batches: number, rows: number, reason: string, sizes = mixed as object) => {
    const history = new BatchHistory();
    const more = { reasons: { [reason]: batches }, sizes: sizes as Record<string, number> };
    history.add(0, [{ version: 1, batches: counts(0, 0) }]);
    history.add(5, [{ version: 1, batches: counts(batches, rows, more) }]);
    return diagnosis(history.within(60));
  };
  assert.match(of(10, 640, 'full'), /64\.0 rows.*larger max_batch_size/);
  assert.match(of(10, 80, 'timeout'), /longer delay makes batches larger/);
  assert.match(of(10, 80, 'timeout', { '8': 10 }), /had 8 rows, so about 8 rows arrive at once/);
  assert.match(of(10, 11, 'timeout'), /shorter delay costs nothing/);
  assert.match(of(10, 11, 'executor_idle'), /as soon as an executor was free/);
  assert.equal(diagnosis(new BatchHistory().within(60)), 'No batch ran recently.');
});
