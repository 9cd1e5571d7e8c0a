/** The data of a sweep explorer: its sliders, the simulated curve, the measured points. Does not touch
 * the page. */

import { roundDown, roundUp } from '../../charts/axes';
import { countText, durationText } from '../../charts/text';
import { AXES, CLOSE_REASONS } from '../../protocol/generated';

export type Axis = (typeof AXES)[number];
export type Setting = Record<Axis, number>;

/** Low, estimate, high; a bound that is not known is null. */
export type Interval = [number | null, number, number | null];

/** A point, measured or simulated: rates a second, latencies in microseconds, shares from 0 to 1. */
export interface IPoint {
  setting: Setting;
  offered: number;
  achieved: Interval;
  p50: Interval | null;
  p90: Interval | null;
  p99: Interval | null;
  /** Rows of a batch, and how many batches had so many. */
  sizes: [number, number][];
  /** Batches by why they were closed. */
  reasons: Record<string, number>;
  batchRows: number;
  rejected: number;
  occupancy: number;
  verdict: string;
  /** The verdict with the time that an answer lacks. */
  verdictText: string;
  diagnoses: string[];
}

export type Figure = 'p50' | 'p90' | 'p99' | 'achieved';

/** What each slider is called; the names are TensorFlow Serving's. */
export const TITLES: Record<Axis, string> = {
  batch_timeout_micros: 'delay',
  max_batch_size: 'max_batch_size',
  num_batch_threads: 'threads',
  rate: 'offered rate'
};

export function valueText(axis: Axis, value: number): string {
  switch (axis) {
    case 'batch_timeout_micros':
      return value === 0 ? '0' : durationText(value);
    case 'rate':
      return `${countText(value)}/s`;
    default:
      return String(value);
  }
}

export class SweepData {
  scales: Record<Axis, number[]> = {
    batch_timeout_micros: [0],
    max_batch_size: [1],
    num_batch_threads: [1],
    rate: [1]
  };
  /** Where the sliders are. */
  setting: Setting = { batch_timeout_micros: 0, max_batch_size: 1, num_batch_threads: 1, rate: 1 };
  axis: Axis = 'batch_timeout_micros';
  /** The last simulated curve, along `curveAxis`, for the sliders in `curveSetting`. */
  curve: IPoint[] = [];
  curveAxis: Axis = 'batch_timeout_micros';
  curveSetting: Setting | null = null;
  measured: IPoint[] = [];

  /** The position of a value on its scale, in steps from the left; fractional between two steps. */
  place(axis: Axis, value: number): number {
    const scale = this.scales[axis];
    const right = scale.findIndex(each => each >= value);
    if (right < 0) {
      return scale.length - 1;
    }
    if (right === 0 || scale[right] === value) {
      return right;
    }
    return right - 1 + (value - scale[right - 1]) / (scale[right] - scale[right - 1]);
  }

  /** The simulated point under the sliders, if it is simulated already. */
  get here(): IPoint | null {
    return this.curve.find(point => same(point.setting, this.setting)) ?? null;
  }

  /** The last measured point under the sliders. */
  get measuredHere(): IPoint | null {
    return [...this.measured].reverse().find(point => same(point.setting, this.setting)) ?? null;
  }

  /** Whether the curve was simulated for the present position of the sliders. */
  get fresh(): boolean {
    return (
      this.curveSetting !== null &&
      this.curveAxis === this.axis &&
      same(this.curveSetting, this.setting)
    );
  }

  /** Whether a point differs from the sliders only along the axis. */
  onCurve(point: IPoint): boolean {
    return AXES.every(axis => axis === this.axis || point.setting[axis] === this.setting[axis]);
  }

  /** The range of latencies in microseconds, with round ends that keep still while a slider moves. */
  latencyRange(): [number, number] {
    const seen = [...this.curve, ...this.measured].flatMap(point =>
      [point.p50, point.p99].map(found => found?.[1] ?? 0).filter(value => value > 0)
    );
    const [least, most] = seen.length === 0 ? [1e3, 9e4] : [Math.min(...seen), Math.max(...seen)];
    return [roundDown(least * 0.95), roundUp(most * 1.05)];
  }

  /** The highest rate to draw: a round number, which keeps still while a slider moves. */
  mostThroughput(): number {
    const rates = [...this.curve, ...this.measured].flatMap(p => [p.achieved[1], p.offered]);
    return roundUp(Math.max(10, ...rates) * 1.08, [1, 1.5, 2, 3, 4, 5, 6, 8, 10]);
  }

  /** The labelled places of the axis: both ends, and round values between them. */
  splits(most = 6): number[] {
    const scale = this.scales[this.axis];
    const round = (value: number) => value === 0 || /^[125]0*$/.test(String(value));
    const inner = scale.flatMap((value, i) => (round(value) ? [i] : []));
    const places = inner.length >= 3 ? inner : scale.map((_, i) => i);
    const every = Math.max(1, Math.ceil(places.length / most));
    return places.filter((_, i) => i % every === 0);
  }

  /** The charts in words. */
  summary(): string {
    const { here, measuredHere } = this;
    if (here === null) {
      return measuredHere === null ? '' : `Measured: ${figuresText(measuredHere)}.`;
    }
    const real = measuredHere === null ? '' : ` Measured: ${figuresText(measuredHere)}.`;
    return `Simulated: ${figuresText(here)}.${real}`;
  }

  /** The same as the charts, a row for each simulated or measured point. */
  rows(): string[][] {
    const simulated = this.curve.map(point => row(point, 'simulated'));
    return [...simulated, ...this.measured.map(point => row(point, 'measured'))];
  }
}

export const ROW_TITLES = [
  ...['', 'delay', 'max_batch_size', 'threads', 'offered', 'answered/s', 'p50', 'p90', 'p99'],
  ...['rows per batch', 'rejected', 'verdict']
];

function row(point: IPoint, kind: string): string[] {
  return [
    kind,
    ...AXES.map(axis => valueText(axis, point.setting[axis])),
    intervalText(point.achieved, countText),
    ...[point.p50, point.p90, point.p99].map(found => intervalText(found, durationText)),
    point.batchRows.toFixed(1),
    percent(point.rejected),
    point.verdictText
  ];
}

/** `12 ms (11 ms to 14 ms)`; without an interval the estimate alone; a dash for nothing. */
export function intervalText(found: Interval | null, text: (value: number) => string): string {
  if (found === null) {
    return '–';
  }
  const [low, middle, high] = found;
  if (low === middle && high === middle) {
    return text(middle);
  }
  const bound = (value: number | null) => (value === null ? '?' : text(Math.max(value, 0)));
  return `${text(middle)} (${bound(low)} to ${bound(high)})`;
}

export function percent(share: number): string {
  return share > 0 && share < 0.01 ? '< 1 %' : `${Math.round(100 * share)} %`;
}

function figuresText(point: IPoint): string {
  const p99 = point.p99 === null ? 'no answers' : `p99 ${durationText(point.p99[1])}`;
  return (
    `${countText(point.achieved[1])} requests/s, ${p99}, ` +
    `${point.batchRows.toFixed(1)} rows per batch, ${point.verdictText}`
  );
}

function same(a: Setting, b: Setting): boolean {
  return AXES.every(axis => a[axis] === b[axis]);
}

/** Heights of the lines' names, moved apart so that none covers another. */
export function spread(heights: readonly number[], apart: number): number[] {
  const order = heights.map((_, i) => i).sort((a, b) => heights[a] - heights[b]);
  const moved = [...heights];
  order.forEach((each, i) => {
    if (i > 0) {
      moved[each] = Math.max(moved[each], moved[order[i - 1]] + apart);
    }
  });
  return moved;
}

/** The most rows that a batch had, at either of two points. */
export function largestBatch(...points: (IPoint | null)[]): number {
  return Math.max(1, ...points.flatMap(point => point?.sizes.map(([size]) => size) ?? []));
}

/** The share of batches closed for each of `CLOSE_REASONS`. */
export function reasonShares(point: IPoint): number[] {
  const total = Object.values(point.reasons).reduce((sum, count) => sum + count, 0);
  return Object.keys(CLOSE_REASONS).map(name => (point.reasons[name] ?? 0) / Math.max(1, total));
}
