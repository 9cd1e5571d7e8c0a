// `jlpm test`: Node's own test runner, which reads TypeScript; nothing is installed for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bytesText } from '../../src/charts/text.ts';
import type { IModel, IServer, IVersion } from '../../src/protocol/generated.ts';
import * as describe from '../../src/servers/describe.ts';

const trans = {
  __: (text: string, ...args: unknown[]) =>
    text.replace(/%(\d)/g, (_, n) => String(args[Number(n) - 1])),
  _n: (one: string, many: string, count: number, ...args: unknown[]): string =>
    trans.__(count === 1 ? one : many, ...args)
};

const version = (
  number: number,
  state: IVersion['state'],
  rest: Partial<IVersion> = {}
): IVersion => ({
  version: number,
  state,
  error: null,
  memory_bytes: null,
  ...rest
});

const server = (models: IModel[], rest: Partial<IServer> = {}): IServer => ({
  name: 'digits',
  url: 'http://127.0.0.1:8501',
  kernel_id: null,
  budget_bytes: null,
  requests_per_second: 0,
  state: 'running',
  memory_bytes: 340 * 2 ** 20,
  models,
  ...rest
});

const digits = {
  name: 'digits',
  versions: [
    version(3, 'END', { error: 'INTERNAL: no such file' }),
    version(2, 'AVAILABLE', { memory_bytes: 36 * 2 ** 20 }),
    version(1, 'UNLOADING'),
    version(0, 'END')
  ]
};
const other = { name: 'other', versions: [] };

test('bytes are short and keep two digits', () => {
  const sizes = [0, 1.5, 9.9, 10, 999, 1000, 1024 * 1.4, 1024 * 10].map(mb => mb * 2 ** 20);
  assert.deepEqual(sizes.map(bytesText), [
    '0.0 MB',
    '1.5 MB',
    '9.9 MB',
    '10 MB',
    '999 MB',
    '1.0 GB',
    '1.4 GB',
    '10 GB'
  ]);
});

test('a version that has ended in peace is not shown; one that failed is', () => {
  assert.deepEqual(
    describe.shown(digits).map(v => [v.version, describe.statusOf(v)]),
    [
      [3, 'failed'],
      [2, 'serving'],
      [1, 'changing']
    ]
  );
});

test('all servers at a glance: the worst of them, requests, memory', () => {
  const well = server([{ name: 'digits', versions: [version(1, 'AVAILABLE')] }], {
    budget_bytes: 12 * 2 ** 30,
    requests_per_second: 1234
  });
  assert.deepEqual(describe.overview([], trans), { status: null, text: '' });
  assert.deepEqual(describe.overview([well], trans), {
    status: 'serving',
    text: '1 server · 1.2 k requests/s · 340 MB of 12 GB'
  });
  const loading = server([{ name: 'digits', versions: [version(2, 'LOADING')] }]);
  assert.equal(
    describe.overview([well, { ...loading, requests_per_second: 0 }], trans).status,
    'changing'
  );
  const dead = server([], { state: 'dead', memory_bytes: null, requests_per_second: 0 });
  assert.equal(describe.overview([well, dead], trans).status, 'failed');
  assert.equal(describe.serverDetail(dead, false, trans), 'dead');
  assert.equal(describe.serverSummary(dead, false, trans), 'dead');
});

test('rates are short', () => {
  assert.deepEqual([0, 0.42, 9.96, 12.4, 999, 1234, 56_000].map(describe.rateText), [
    '0',
    '0.4',
    '10.0',
    '12',
    '999',
    '1.2 k',
    '56 k'
  ]);
});

test('a version in a few words', () => {
  assert.deepEqual(
    digits.versions.map(v => describe.versionDetail(v, trans)),
    ['failed', 'AVAILABLE · 36 MB', 'UNLOADING', 'END']
  );
});

test('a server with its versions below it says what they do not', () => {
  assert.equal(describe.serverDetail(server([digits]), false, trans), '340 MB');
  assert.equal(describe.serverDetail(server([], { memory_bytes: null }), false, trans), '');
  assert.equal(describe.serverDetail(server([digits]), true, trans), 'stopping…');
  assert.equal(
    describe.serverDetail(server([], { state: 'unreachable' }), false, trans),
    'not answering'
  );
});

test('a server on one line', () => {
  assert.equal(
    describe.serverSummary(server([digits]), false, trans),
    '3 failed, 2 AVAILABLE, 1 UNLOADING'
  );
  assert.equal(
    describe.serverSummary(server([digits, other]), false, trans),
    'digits 3 failed, 2 AVAILABLE, 1 UNLOADING; other no version'
  );
  assert.equal(describe.serverSummary(server([]), false, trans), 'no model');
  assert.equal(describe.serverSummary(server([digits]), true, trans), 'stopping…');
  assert.equal(
    describe.serverSummary(server([], { state: 'unreachable' }), false, trans),
    'not answering'
  );
});

test("a server's tooltip tells all", () => {
  assert.equal(
    describe.serverTitle(server([digits]), trans),
    [
      'Model server digits',
      'http://127.0.0.1:8501',
      'digits 3 failed: INTERNAL: no such file',
      'digits 2 AVAILABLE · 36 MB',
      'digits 1 UNLOADING'
    ].join('\n')
  );
});
