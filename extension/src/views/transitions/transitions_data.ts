/** Runs of one transition under several policies, on shared axes. Times are in seconds since the new
 * version was requested. Does not touch the page. */

import { sumsOf } from '../../charts/axes';
import { bytesText, durationText } from '../../charts/text';
import type { ShownState } from '../../charts/version_marks';
import { compareVersions, type Version } from '../../protocol/version';

export interface IRunSpan {
  version: Version;
  state: ShownState;
  start: number;
  end: number;
}

/** Due, microseconds, version, kind. */
export type RunDot = [number, number, Version, number];

export const [ANSWERED, HELD, FAILED] = [0, 1, 2];

export interface IRun {
  title: string;
  head: string;
  old: Version;
  new: Version;
  start: number;
  end: number;
  spans: IRunSpan[];
  gaps: [number, number][];
  decisions: { at: number; text: string }[];
  /** Bytes of each version's worker at each of `at`. */
  memory: { at: number[]; by: [Version, number[]][] };
  dots: RunDot[];
}

/** The shortest visible time, in seconds. */
export const SHORTEST = 0.02;

/** The axes that all panels share. */
export class SharedAxes {
  readonly versions: Version[];
  /** Bytes, with room above. */
  readonly mostMemory: number;
  /** Microseconds. */
  readonly latencies: [number, number];
  /** The time that was recorded. */
  readonly whole: [number, number];
  start: number;
  end: number;
  /** The selected moment. */
  moment: number | null = null;

  private readonly _first: readonly [number, number];

  constructor(runs: readonly IRun[], first: readonly [number, number]) {
    this._first = first;
    const versions = new Set(runs.flatMap(run => [run.old, run.new]));
    this.versions = [...versions].sort(compareVersions);
    const sums = runs.flatMap(({ memory }) => sumsOf(memory.by.map(([, bytes]) => bytes)));
    this.mostMemory = Math.max(2 ** 20, ...sums) * 1.15;
    let [least, longest] = [1000, 10_000];
    for (const { dots } of runs) {
      for (const [, micros, , kind] of dots) {
        if (kind !== FAILED && micros > 0) {
          least = Math.min(least, micros);
          longest = Math.max(longest, micros);
        }
      }
    }
    this.latencies = [least / 1.5, longest * 2];
    this.whole = [
      Math.min(first[0], ...runs.map(run => run.start)),
      Math.max(first[1], ...runs.map(run => run.end))
    ];
    [this.start, this.end] = first;
  }

  get span(): number {
    return this.end - this.start;
  }

  reset(): void {
    [this.start, this.end] = this._first;
  }

  /** Show more time (above 1) or less; the time `around` stays in place. */
  zoom(factor: number, around = (this.start + this.end) / 2): void {
    const [low, high] = this.whole;
    const span = Math.min(high - low, Math.max(SHORTEST, this.span * factor));
    const share = (around - this.start) / this.span;
    this._show(around - share * span, span);
  }

  /** Scroll by a share of the visible time, within what was recorded. */
  pan(share: number): void {
    this._show(this.start + share * this.span, this.span);
  }

  /** Move the selected moment by a share of the visible time, and scroll to keep it visible. */
  step(share: number): void {
    const [low, high] = this.whole;
    const from = this.moment ?? 0;
    this.moment = Math.min(high, Math.max(low, from + share * this.span));
    if (this.moment < this.start || this.moment > this.end) {
      this._show(this.moment - this.span / 2, this.span);
    }
  }

  private _show(start: number, span: number): void {
    const [low, high] = this.whole;
    this.start = Math.max(low, Math.min(start, high - span));
    this.end = this.start + span;
  }
}

/** A run at a moment, in words. */
export function momentText(run: IRun, at: number): string {
  if (at < run.start || at > run.end) {
    return 'not recorded';
  }
  const states = run.spans
    .filter(span => span.start <= at && at < span.end)
    .map(span => `version ${span.version} ${span.state.toLowerCase()}`);
  const bytes = memoryAt(run, at);
  const near = run.dots.filter(dot => Math.abs(dot[0] - at) <= 0.05);
  const failed = near.filter(dot => dot[3] === FAILED).length;
  const answered = near.filter(dot => dot[3] !== FAILED).map(dot => dot[1]);
  const parts = [states.join(', ') || 'no version', bytesText(bytes)];
  if (answered.length > 0) {
    parts.push(`slowest answer ${durationText(Math.max(...answered))}`);
  }
  if (failed > 0) {
    parts.push(`${failed} failed`);
  }
  const decided = run.decisions.filter(each => Math.abs(each.at - at) <= 0.05);
  return [parts.join('; '), ...decided.map(each => `Policy: ${each.text}`)].join('. ');
}

function memoryAt(run: IRun, at: number): number {
  let place = run.memory.at.findIndex(time => time > at) - 1;
  if (place < 0) {
    place = run.memory.at.length > 0 && run.memory.at[0] <= at ? run.memory.at.length - 1 : 0;
  }
  return run.memory.by.reduce((sum, [, bytes]) => sum + (bytes[place] ?? 0), 0);
}

/** `0.25 s`: a time since the version was requested. */
export function sinceText(seconds: number, span: number): string {
  const digits = span < 0.2 ? 3 : span < 2 ? 2 : 1;
  return `${Number(seconds.toFixed(digits))} s`;
}
