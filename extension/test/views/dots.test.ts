import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Dots, type Dot } from '../../src/views/timeline/dots.ts';

const COLUMNS = 800;

/** Requests of ten minutes, each of 1 to 100 ms, by two versions; each 50th fails. */
function crowd(count = 100_000): Dots {
  const dots = new Dots(count);
  for (let i = 0; i < count; i += 1) {
    const micros = 1000 * 100 ** (((i * 7919) % 1000) / 1000);
    dots.add([(i * 600) / count, micros, 1 + (i % 2), i % 50 === 0 ? 14 : 0, 1]);
  }
  return dots;
}

function drawn(dots: Dots, start: number, end: number): Dot[] {
  return dots.visible(start, end, COLUMNS).tiles.flat();
}

test('panning over 100 000 dots looks at those that come into view, once', () => {
  const dots = crowd();
  drawn(dots, 0, 300);
  const first = dots.examined;
  assert.ok(first >= 50_000 && first < 65_000, String(first));
  // 100 frames of a drag over a third of what is seen, and back.
  for (let i = 1; i <= 50; i += 1) {
    drawn(dots, i * 2, 300 + i * 2);
  }
  for (let i = 50; i >= 1; i -= 1) {
    drawn(dots, i * 2, 300 + i * 2);
  }
  assert.ok(dots.examined - first < 25_000, String(dots.examined - first));
  const before = dots.examined;
  drawn(dots, 50, 350);
  assert.equal(dots.examined, before);
});

test('what is drawn is bounded by the picture, not by the requests', () => {
  const cells = drawn(crowd(), 0, 600).length;
  const more = drawn(crowd(400_000), 0, 600).length;
  // 600 columns of a second, at most 81 heights, two versions, and one failed each.
  assert.ok(cells < more && more < 600 * 82 * 2, `${cells} ${more}`);
});

test('dots do not come and go while the view moves', () => {
  const dots = crowd();
  const before = new Set(drawn(dots, 100, 200));
  const after = new Set(drawn(dots, 101.3, 201.3));
  const lost = [...before].filter(dot => dot[0] >= 101.3 && dot[0] <= 200 && !after.has(dot));
  assert.deepEqual(lost, []);
});

test('every failed one keeps its column, and extremes stay in the range', () => {
  const dots = new Dots(100);
  dots.add([1, 10, 1, 0, 1]);
  dots.add([1, 10, 1, 14, 1]);
  dots.add([2, 900_000, 1, 0, 1]);
  const { tiles, least, most } = dots.visible(0, 10, COLUMNS);
  assert.deepEqual(
    tiles.flat().map(dot => dot[3]),
    [0, 14, 0]
  );
  assert.deepEqual([least, most], [10, 900_000]);
});

test('a dot that comes late is drawn, and what is old is forgotten', () => {
  const dots = new Dots(8);
  dots.add([5, 10, 1, 0, 1]);
  drawn(dots, 0, 10);
  dots.add([4, 20, 2, 0, 1]);
  assert.deepEqual(
    drawn(dots, 0, 10).map(dot => dot[0]),
    [4, 5]
  );
  dots.forget(4.5);
  assert.deepEqual(
    drawn(dots, 0, 10).map(dot => dot[0]),
    [5]
  );
  for (let i = 0; i < 20; i += 1) {
    dots.add([10 + i, 10, 1, 0, 1]);
  }
  dots.forget(0);
  assert.equal(dots.size, 8);
});
