/** Versions beyond 2^53 - 1 reach the page as text; nothing on the way may round them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { versionColour } from '../../src/charts/theme.ts';
import { VERSION_COLOURS } from '../../src/protocol/generated.ts';
import { codeOf } from '../../src/dashboard/deed_code.ts';
import {
  compareVersions,
  latestVersion,
  placeOfVersion,
  type Version,
  versionOf
} from '../../src/protocol/version.ts';
import { BatchHistory } from '../../src/views/batches/batches_data.ts';
import { latestOf, shownVersions } from '../../src/views/card/versions_data.ts';
import { Dots } from '../../src/views/timeline/dots.ts';
import { type IPulse, TimelineData } from '../../src/views/timeline/timeline_data.ts';
import { type IRun, SharedAxes } from '../../src/views/transitions/transitions_data.ts';

const LAST = '9223372036854775807';
const BEFORE = '9223372036854775806';
const EDGE = 2 ** 53 - 1;
const BEYOND = '9007199254740993';

test('they are told apart, and in their order', () => {
  const order: Version[] = [0, 9, 10, EDGE, '9007199254740992', BEYOND, BEFORE, LAST];
  assert.deepEqual([...order].reverse().sort(compareVersions), order);
  assert.deepEqual([LAST, 9, BEFORE].sort(compareVersions), [9, BEFORE, LAST]);
  assert.equal(compareVersions(LAST, LAST), 0);
  assert.equal(latestVersion(order), LAST);
  assert.equal(latestVersion([]), null);
});

test('digits become the one form that a version has', () => {
  assert.deepEqual(['0', '12', String(EDGE), BEYOND, LAST].map(versionOf), [
    0,
    12,
    EDGE,
    BEYOND,
    LAST
  ]);
});

test('colours go round as for small ones', () => {
  const count = VERSION_COLOURS.light.length;
  for (const version of [0, 1, 7, EDGE, BEYOND, LAST]) {
    const place = Number((((BigInt(version) - 1n) % 6n) + 6n) % 6n);
    assert.equal(placeOfVersion(version, count), place);
    assert.equal(versionColour(version, false), VERSION_COLOURS.light[place]);
  }
  assert.notEqual(versionColour(LAST, true), versionColour(BEFORE, true));
});

function about(version: Version, state: string) {
  return { version, state, error: null, load_seconds: null, notes: [] };
}

test('the table of versions knows which one serves and which can be gone back to', () => {
  const told = [
    about(LAST, 'END'),
    about(BEFORE, 'AVAILABLE'),
    about(BEYOND, 'END'),
    about(1, 'END')
  ];
  assert.equal(latestOf(told), BEFORE);
  assert.deepEqual(
    shownVersions(told).map(each => each.version),
    [BEFORE, BEYOND, 1]
  );
});

test('the timeline keeps two neighbours apart', () => {
  const pulse = {
    now: 10,
    wall: 1000,
    seq: 2,
    events: [BEFORE, LAST].map((version, i) => ({
      seq: i + 1,
      kind: 'state',
      monotonic: 1 + i,
      wall: 991 + i,
      version,
      data: { state: 'AVAILABLE', harness: 'ready' }
    })),
    memory: [
      [5, 'worker', BEFORE, 1, 100, true],
      [5, 'worker', LAST, 1, 200, true]
    ],
    seconds: [
      [5, BEFORE, 3, 0, 1, 1],
      [5, LAST, 4, 0, 1, 1]
    ],
    dots: [
      [5, 100, BEFORE, 0, 1],
      [5, 100, LAST, 0, 1]
    ]
  } as unknown as IPulse;
  const data = new TimelineData(new Dots(100));
  data.add(JSON.parse(JSON.stringify(pulse)) as IPulse);
  assert.deepEqual(data.versions, [BEFORE, LAST]);
  assert.deepEqual(
    [...data.memoryAt([6])],
    [
      [BEFORE, [100]],
      [LAST, [200]]
    ]
  );
  const { by } = data.ratesIn(5, 6);
  assert.deepEqual(
    [...by],
    [
      [BEFORE, [3]],
      [LAST, [4]]
    ]
  );
});

test('batches are counted for each', () => {
  const counts = (batches: number) => ({
    batches,
    rows: batches,
    requests: batches,
    padding: 0,
    queued_micros: 0,
    request_run_micros: 0,
    rejected: 0,
    reasons: {},
    sizes: {}
  });
  const history = new BatchHistory();
  history.add(0, [
    { version: BEFORE, batches: counts(1) },
    { version: LAST, batches: counts(5) }
  ]);
  history.add(5, [
    { version: BEFORE, batches: counts(2) },
    { version: LAST, batches: counts(7) }
  ]);
  assert.equal(history.within(60).batches, 3);
});

test('transitions have a lane for each', () => {
  const run: IRun = {
    title: '',
    head: '',
    old: LAST,
    new: BEFORE,
    start: 0,
    end: 1,
    spans: [],
    gaps: [],
    decisions: [],
    memory: { at: [], by: [] },
    dots: []
  };
  assert.deepEqual(new SharedAxes([run], [0, 1]).versions, [BEFORE, LAST]);
});

test('the cell that does the same has numbers, not text', () => {
  const deed = (op: string, values: Record<string, unknown>) =>
    codeOf({ op, server: 's', model: 's', values })?.split('\n').at(-1);
  assert.equal(deed('rollback', { to: LAST }), `server.rollback(to=${LAST})`);
  assert.equal(deed('rollback', { version: BEYOND }), `server.rollback(${BEYOND})`);
  assert.equal(deed('rollback', { to: 3 }), 'server.rollback(to=3)');
  assert.equal(
    deed('labels', { value: { stable: LAST, old: 1 } }),
    `server.labels = {"stable": ${LAST}, "old": 1}`
  );
});
