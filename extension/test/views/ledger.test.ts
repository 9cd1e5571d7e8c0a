import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { IPart } from '../../src/protocol/generated.ts';
import { segmentAt, segmentsOf } from '../../src/views/ledger/ledger_data.ts';

function part(kind: string, bytes: number, version: number | null = null): IPart {
  return { label: `${version} ${kind}`, kind, bytes, how: 'measured', model: null, version };
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
