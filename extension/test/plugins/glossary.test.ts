import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

test('the Help menu opens the glossary', () => {
  const [help] = JSON.parse(read('../../schema/glossary.json'))['jupyter.lab.menus'].main;
  assert.equal(help.id, 'jp-mainmenu-help');
  const [{ command }] = help.items;
  assert.ok(read('../../src/servers/tokens.ts').includes(`openGlossary = '${command}'`));
});

test('the glossary needs no other page: links would lead nowhere in JupyterLab', () => {
  const glossary = read('../../../docs/glossary.md');
  assert.match(glossary, /^# Glossary\n/);
  assert.doesNotMatch(glossary, /\]\((?!https?:|#)/);
});
