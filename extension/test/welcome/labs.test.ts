import assert from 'node:assert/strict';
import { test } from 'node:test';

import { doneCount, type ILab, isLab, nextLab } from '../../src/welcome/progress.ts';

const labs: ILab[] = (['done', 'failed', 'done', 'new'] as const).map((state, number) => ({
  name: `0${number}-lab.ipynb`,
  title: `Lab ${number}`,
  idea: '',
  path: null,
  state
}));

test('what was run, and what comes next', () => {
  assert.equal(doneCount(labs), 2);
  assert.equal(nextLab(labs), '01-lab.ipynb');
  assert.equal(nextLab(labs.filter(lab => lab.state === 'done')), null);
  assert.equal(nextLab([]), null);
});

test('which files are labs', () => {
  assert.ok(isLab(labs, 'notebooks/00-lab.ipynb'));
  assert.ok(isLab(labs, '03-lab.ipynb'));
  assert.ok(!isLab(labs, 'notebooks/my-00-lab.ipynb'));
  assert.ok(!isLab(labs, '00-lab.ipynb/other'));
});
