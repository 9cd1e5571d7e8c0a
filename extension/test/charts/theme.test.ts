import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FAILED_COLOUR, PROCESS_COLOUR, VERSION_COLOURS } from '../../src/protocol/generated.ts';

type Three = [number, number, number];

function linear(colour: string): Three {
  const parts = [1, 3, 5].map(i => Number.parseInt(colour.slice(i, i + 2), 16) / 255);
  return parts.map(x => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)) as Three;
}

function contrast(a: string, b: string): number {
  const [low, high] = [a, b]
    .map(linear)
    .map(([red, green, blue]) => 0.2126 * red + 0.7152 * green + 0.0722 * blue)
    .sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

/** Machado, Oliveira and Fernandes (2009), in full strength. */
const SIGHT: Record<string, Three[]> = {
  usual: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1]
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998]
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881]
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039]
  ]
};

/** Where a reader sees a colour, in Oklab. */
function seen(colour: string, sight: Three[]): Three {
  const [r, g, b] = sight.map(row =>
    Math.max(
      0,
      row.reduce((sum, factor, i) => sum + factor * linear(colour)[i], 0)
    )
  );
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s
  ];
}

/** In Oklab 0.02 is about what can just be told apart side by side. */
const APART = 0.05;

for (const [ground, colours] of Object.entries(VERSION_COLOURS)) {
  for (const [name, sight] of Object.entries(SIGHT)) {
    test(`six versions on ${ground} are told apart with ${name} sight`, () => {
      colours.forEach((one, i) => {
        for (const other of colours.slice(i + 1)) {
          const [a, b] = [seen(one, sight), seen(other, sight)];
          const apart = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
          assert.ok(apart > APART, `${one} and ${other}: ${apart.toFixed(3)}`);
        }
      });
    });
  }
}

test('colours stand out from their ground: 3 to 1, and 4.5 to 1 on dark and on black', () => {
  for (const colour of [...VERSION_COLOURS.light, FAILED_COLOUR.light, PROCESS_COLOUR.light]) {
    assert.ok(contrast(colour, '#ffffff') >= 3, `${colour} ${contrast(colour, '#ffffff')}`);
  }
  for (const colour of [...VERSION_COLOURS.dark, FAILED_COLOUR.dark, PROCESS_COLOUR.dark]) {
    for (const ground of ['#212121', '#000000']) {
      assert.ok(contrast(colour, ground) >= 4.5, `${colour} ${contrast(colour, ground)}`);
    }
  }
});
