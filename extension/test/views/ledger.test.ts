import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  magnifiedTo,
  segmentAt,
  segmentsOf,
  type IDevice,
  type IPart
} from '../../src/views/ledger/ledger_data.ts';

function part(kind: string, bytes: number, version: number | null = null): IPart {
  return { label: `${version} ${kind}`, kind, bytes, how: 'measured', model: null, version };
}

/** With 80 of `limit` reserved, and 80 held. */
function device(limit: number | null, ...parts: IPart[]): IDevice {
  const total = parts.reduce((sum, each) => sum + each.bytes, 0);
  const about = { device: 'host', total, scope: 'machine', summary: '' };
  return { ...about, limit, reserved: 80, taken: 80, budget_at: limit, parts };
}

test('parts stand side by side, and one that was counted twice takes no room', () => {
  const found = segmentsOf([part('weights', 60, 1), part('unattributed', -5), part('free', 40)]);
  assert.deepEqual(
    found.map(s => [s.part.kind, s.start, s.end]),
    [
      ['weights', 0, 60],
      ['free', 60, 100]
    ]
  );
  assert.equal(segmentAt(found, 59)?.part.kind, 'weights');
  assert.equal(segmentAt(found, 60)?.part.kind, 'free');
  assert.equal(segmentAt(found, 100), null);
});

test('what is ours is magnified where it is a small part of the device', () => {
  const parts = [
    part('weights', 60, 1),
    part('process', 40),
    part('unattributed', 300),
    part('free', 9600)
  ];
  assert.equal(magnifiedTo(device(null, ...parts)), 104);
  // A budget that is near belongs into the picture, one that is far would push all to the left.
  assert.equal(magnifiedTo(device(200, ...parts)), 208);
  assert.equal(magnifiedTo(device(9000, ...parts)), 104);
});

test('what one more version would need is in the picture', () => {
  const parts = [part('weights', 60, 1), part('process', 40), part('free', 9900)];
  assert.equal(magnifiedTo(device(null, ...parts), 120), 208);
  assert.equal(magnifiedTo(device(null, ...parts), 10), 104);
});

test('a device that is mostly ours is shown whole, and so is one without us', () => {
  assert.equal(magnifiedTo(device(null, part('weights', 60, 1), part('free', 40))), null);
  assert.equal(magnifiedTo(device(null, part('unattributed', 60), part('free', 40))), null);
});
