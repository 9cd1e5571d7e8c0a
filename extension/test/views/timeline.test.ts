import assert from 'node:assert/strict';
import { test } from 'node:test';

import { KEPT_SECONDS } from '../../src/protocol/generated.ts';
import { Dots } from '../../src/views/timeline/dots.ts';
import { TimelineData, type IEvent, type IPulse } from '../../src/views/timeline/timeline_data.ts';

function state(seq: number, at: number, version: number, name: string): IEvent {
  const data = { state: name, harness: name.toLowerCase() };
  return { seq, kind: 'state', monotonic: at, wall: at, version, data };
}

function pulse(now: number, parts: Partial<IPulse> = {}): IPulse {
  return { now, wall: now, seq: 0, events: [], memory: [], seconds: [], dots: [], ...parts };
}

test('a state lasts until the next of its version', () => {
  const data = new TimelineData(new Dots(100));
  data.add(pulse(10, { events: [state(1, 1, 1, 'LOADING'), state(2, 3, 1, 'AVAILABLE')] }));
  data.add(pulse(20, { events: [state(3, 12, 2, 'LOADING'), state(4, 15, 1, 'END')] }));

  assert.deepEqual(
    data.spans.map(s => [s.version, s.state, s.start, s.end]),
    [
      [1, 'LOADING', 1, 3],
      [1, 'AVAILABLE', 3, 15],
      [2, 'LOADING', 12, null]
    ]
  );
  assert.deepEqual(data.versions, [1, 2]);
});

test('an event that comes twice counts once', () => {
  const data = new TimelineData(new Dots(100));
  const events = [state(1, 1, 1, 'LOADING')];
  data.add(pulse(2, { events }));
  data.add(pulse(3, { events }));

  assert.equal(data.spans.length, 1);
});

test('what is told anew counts anew', () => {
  const data = new TimelineData(new Dots(100));
  data.add(pulse(2, { events: [state(1, 1, 1, 'AVAILABLE'), state(2, 2, 2, 'LOADING')] }));
  data.clear();
  data.add(pulse(9, { events: [state(1, 8, 1, 'LOADING')] }));

  assert.deepEqual(
    data.spans.map(s => [s.version, s.state, s.start]),
    [[1, 'LOADING', 8]]
  );
});

test('memory is what was seen last, while there is a worker', () => {
  const data = new TimelineData(new Dots(100));
  data.add(
    pulse(10, {
      events: [state(1, 1, 1, 'LOADING'), state(2, 2, 1, 'AVAILABLE'), state(3, 8, 1, 'END')],
      memory: [
        [2, 'worker', 1, 0, 100, true],
        [5, 'worker', 1, 0, 300, false],
        [5, 'server', null, 0, 999, true]
      ]
    })
  );

  assert.deepEqual([...data.memoryAt([1.5, 2, 4, 6, 9])], [[1, [0, 100, 100, 300, 0]]]);
});

test('requests by version, and those that failed', () => {
  const data = new TimelineData(new Dots(100));
  data.add(pulse(10, { seconds: [[7, 1, 5, 0, 1, 2]] }));
  data.add(
    pulse(11, {
      seconds: [
        [7, 1, 6, 1, 1, 2],
        [8, 2, 3, 0, 1, 2],
        [8, null, 0, 4, null, null]
      ]
    })
  );

  const { at, by, failed } = data.ratesIn(7, 9);
  assert.deepEqual(at, [7, 8]);
  assert.deepEqual(
    [...by],
    [
      [1, [6, 0]],
      [2, [0, 3]]
    ]
  );
  assert.deepEqual(failed, [1, 4]);
});

test('what is too old is forgotten, a state that holds is not', () => {
  const data = new TimelineData(new Dots(100));
  data.add(
    pulse(10, {
      events: [state(1, 1, 1, 'LOADING'), state(2, 2, 1, 'AVAILABLE')],
      memory: [[2, 'worker', 1, 0, 100, true]],
      seconds: [[7, 1, 5, 0, 1, 2]],
      dots: [[9, 100, 1, 0, 1]]
    })
  );
  data.add(pulse(20 + KEPT_SECONDS));

  assert.deepEqual(
    data.spans.map(s => s.state),
    ['AVAILABLE']
  );
  assert.equal(data.seconds.size + data.dots.size + data.memory.size, 0);
});

test('a decision is a line of the log, with its reason', () => {
  const data = new TimelineData(new Dots(100));
  const decision = { seq: 1, kind: 'decision', monotonic: 4, wall: 4, version: 2, line: null };
  data.add(pulse(5, { events: [{ ...decision, data: { act: 'load', why: 'it is wanted' } }] }));

  assert.deepEqual(
    data.linesAt(4.2, 0.5).map(l => l.text),
    ['Policy: load version 2, it is wanted']
  );
  assert.deepEqual(data.linesAt(6, 0.5), []);
});

test('what is told again does not count twice, and a fresh start forgets what was', () => {
  const data = new TimelineData(new Dots(100));
  const memory: IPulse['memory'] = [[2, 'worker', 1, 0, 100, true]];
  data.add(pulse(3, { events: [state(1, 1, 1, 'AVAILABLE')], memory }));
  data.add(pulse(4, { memory }));
  assert.equal(data.memory.get(1)?.at.length, 1);

  data.clear();
  assert.deepEqual([data.spans, data.memory.size, data.now], [[], 0, 0]);
  data.add(pulse(5, { events: [state(1, 1, 1, 'AVAILABLE')], memory }));
  assert.equal(data.spans.length, 1);
});

test('what happened last is an event or a request, and not that time goes on', () => {
  const data = new TimelineData(new Dots(100));
  data.add(
    pulse(10, { events: [state(1, 3, 1, 'AVAILABLE')], seconds: [[7, 1, 0, 0, null, null]] })
  );
  assert.equal(data.happened, 3);
  data.add(pulse(20, { seconds: [[12, 1, 5, 0, 1, 2]] }));
  data.add(pulse(30, { seconds: [[25, null, 0, 0, null, null]] }));
  assert.equal(data.happened, 13);
});
