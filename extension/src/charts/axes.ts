/** Axes that several charts have. */

import type { Version } from '../protocol/version';
import type { IPlotOptions } from './plot';
import { bytesText, durationText } from './text';

/** A lane for each version. */
export function laneAxis(versions: () => readonly Version[]) {
  return {
    label: 'version',
    axis: false,
    values: (lane: number) => (versions()[lane] === undefined ? '' : `v${versions()[lane]}`),
    range: () => [Math.max(1, versions().length) - 0.4, -0.6]
  } satisfies Partial<IPlotOptions>;
}

/** Bytes. */
export const MEMORY_AXIS = {
  label: 'memory',
  step: 2 ** 20,
  values: (bytes: number) => (bytes === 0 ? '0' : bytesText(bytes))
};

/** Microseconds. */
export const LATENCY_AXIS = { label: 'latency', logarithmic: true, values: durationText };

/** 1, 2 and 5 of each power of ten between two values above 0. */
export function oneTwoFives(low: number, high: number): number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
    for (const factor of [1, 2, 5]) {
      const value = Number((factor * 10 ** power).toPrecision(1));
      if (value >= low && value <= high) {
        found.push(value);
      }
    }
  }
  return found;
}

/** The sum at each place of series that are equally long. */
export function sumsOf(series: Iterable<readonly number[]>): number[] {
  const sums: number[] = [];
  for (const values of series) {
    values.forEach((value, i) => {
      sums[i] = (sums[i] ?? 0) + value;
    });
  }
  return sums;
}

/** The next round number from here upwards: a power of ten times one of `steps`. */
export function roundUp(value: number, steps = [1, 2, 5, 10]): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return steps.map(step => step * power).find(round => round >= value) ?? 10 * power;
}

/** The next of 1, 2 or 5 times a power of ten, downwards. */
export function roundDown(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [5, 2, 1].map(step => step * power).find(round => round <= value) ?? power;
}
