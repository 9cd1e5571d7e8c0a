import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type IVersionAbout, latestOf, shownVersions } from '../../src/views/card/versions_data.ts';

function version(number: number, state: string, failed = false): IVersionAbout {
  const error = failed ? { code: 'UNKNOWN', message: 'it broke' } : null;
  return { version: number, state, error, load_seconds: null, notes: [] };
}

test('what has ended is shown where it can be gone back to, the last few of it', () => {
  const told = [
    version(9, 'END'),
    version(8, 'END', true),
    version(7, 'AVAILABLE'),
    ...[6, 5, 4, 3, 2, 1].map(each => version(each, 'END'))
  ];
  assert.equal(latestOf(told), 7);
  assert.deepEqual(
    shownVersions(told).map(each => each.version),
    [8, 7, 6, 5, 4]
  );
  // Where nothing serves there is nothing to go back from.
  const gone = [version(2, 'LOADING'), version(1, 'END')];
  assert.deepEqual([latestOf(gone), shownVersions(gone)], [null, [version(2, 'LOADING')]]);
});
