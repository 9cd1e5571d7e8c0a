import assert from 'node:assert/strict';
import { test } from 'node:test';

import { codeOf, python } from '../../src/dashboard/deed_code.ts';

test('values are written as Python', () => {
  assert.equal(
    python({ max_batch_size: 64, pad: true, limit: null, sizes: [1, 2], name: 'a"b\n' }),
    '{"max_batch_size": 64, "pad": True, "limit": None, "sizes": [1, 2], "name": "a\\"b\\n"}'
  );
});

test('each deed has its cell', () => {
  const cell = (op: string, values = {}, model = 'digits') =>
    codeOf({ op, server: 'digits', model, values });
  const head = 'import workbench as wb\n\nserver = wb.connect("digits")\n';
  assert.equal(
    cell('transition', { value: 'staged+hold' }),
    `${head}server.transition = "staged+hold"`
  );
  assert.equal(cell('batching', { value: null }), `${head}server.batching = None`);
  assert.equal(cell('publish', { path: '/m/2' }), `${head}server.publish("/m/2")`);
  assert.equal(
    cell('publish', { path: '/m/2', allow_signature_change: true }),
    `${head}server.publish("/m/2", allow_signature_change=True)`
  );
  assert.equal(cell('rollback'), `${head}server.rollback()`);
  assert.equal(cell('rollback', { version: 3 }), `${head}server.rollback(3)`);
  assert.equal(cell('rollback', { to: 1 }), `${head}server.rollback(to=1)`);
  assert.equal(cell('undo', {}, 'faces'), `${head}server.model = "faces"\nserver.undo()`);
  assert.equal(
    cell('serve', { path: 'models/digits' }),
    'import workbench as wb\n\nserver = wb.serve("models/digits", name="digits")'
  );
  assert.equal(cell('restart'), null);
});
