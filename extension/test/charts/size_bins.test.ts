import assert from 'node:assert/strict';
import { test } from 'node:test';

import { binText, sizeBins } from '../../src/charts/size_bins.ts';

test('few sizes have a bar each', () => {
  assert.deepEqual(sizeBins([], 0), []);
  assert.deepEqual(
    sizeBins(
      [
        [1, 4],
        [3, 2]
      ],
      3
    ).map(bin => [binText(bin), bin.count]),
    [
      ['1', 4],
      ['2', 0],
      ['3', 2]
    ]
  );
});

test('many sizes share bars, each twice as wide as the one before', () => {
  const sizes: [number, number][] = [
    [1, 1],
    [40, 3],
    [63, 1],
    [64, 5]
  ];
  const bins = sizeBins(sizes, 64);
  assert.deepEqual(
    bins.map(bin => bin.count),
    [1, 0, 0, 0, 0, 4, 5]
  );
  assert.equal(binText(bins[6]), '64–127');
});
