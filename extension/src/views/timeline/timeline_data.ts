/** The data of a transition timeline, collected from the server's updates. Times are in seconds on the
 * server's monotonic clock. Does not touch the page. */

import type { ShownState } from '../../charts/version_marks';
import { KEPT_SECONDS, type PublicState } from '../../protocol/generated';
import { compareVersions, type Version } from '../../protocol/version';
import type { Dot, Dots } from './dots';

/** An event as the server's log has it. */
export interface IEvent {
  seq: number;
  kind: string;
  monotonic: number;
  wall: number;
  version?: Version;
  data?: Record<string, unknown>;
  line?: string | null;
}

/** When, whose process (`server`, `zygote`, `server.worker` ...), which version, PSS, USS, measured. */
export type MemorySample = [number, string, Version | null, number, number, boolean];

/**
 * Second, version, answered, failed, p50 and p99 in microseconds, and how many were answered within
 * the wanted latency, if there is one.
 */
export type Second = [
  number,
  Version | null,
  number,
  number,
  number | null,
  number | null,
  number?
];

export interface IPulse {
  now: number;
  wall: number;
  seq: number;
  events: IEvent[];
  memory: MemorySample[];
  seconds: Second[];
  dots: Dot[];
}

/** A version was in a state from `start` to `end`; it still is where that is null. */
export interface ISpan {
  version: Version;
  state: ShownState;
  harness: string;
  start: number;
  end: number | null;
}

export interface ILine {
  at: number;
  wall: number;
  text: string;
  kind: string;
}

/** How many requests, the latest, are kept as dots. */
export const DOTS_KEPT = 100_000;

export class TimelineData {
  spans: ISpan[] = [];
  lines: ILine[] = [];
  /** The private memory of each version's worker, in bytes, at the times `at`. */
  memory = new Map<Version, { at: number[]; bytes: number[]; measured: boolean[] }>();
  /** The requests of each version in each second. */
  seconds = new Map<string, Second>();
  readonly dots: Dots;
  now = 0;
  wall = 0;
  /** The time of the last event or request. */
  happened = 0;

  private _seq = 0;

  constructor(dots: Dots) {
    this.dots = dots;
  }

  /** The versions with something to show, lowest first. */
  get versions(): Version[] {
    const found = new Set(this.spans.map(span => span.version));
    for (const version of this.memory.keys()) {
      found.add(version);
    }
    return [...found].sort(compareVersions);
  }

  /** Forget everything, because the server sends all of it again. */
  clear(): void {
    this.spans = [];
    this.lines = [];
    this.dots.clear();
    this.memory.clear();
    this.seconds.clear();
    this.now = this.wall = this.happened = this._seq = 0;
  }

  add(pulse: IPulse): void {
    if (pulse.now < this.now) {
      // The server process was replaced, so its log starts again. Its clock is the machine's.
      this._seq = 0;
    }
    this.now = pulse.now;
    this.wall = pulse.wall;
    for (const event of pulse.events) {
      if (event.seq > this._seq) {
        this._seq = event.seq;
        this._addEvent(event);
        this.happened = Math.max(this.happened, event.monotonic);
      }
    }
    for (const [at, role, version, , uss, measured] of pulse.memory) {
      if (role === 'worker' && version !== null) {
        let series = this.memory.get(version);
        if (series === undefined) {
          series = { at: [], bytes: [], measured: [] };
          this.memory.set(version, series);
        }
        // A server that was briefly unreachable sends samples again that are known already.
        if (series.at.length === 0 || at > series.at[series.at.length - 1]) {
          series.at.push(at);
          series.bytes.push(uss);
          series.measured.push(measured);
        }
      }
    }
    for (const second of pulse.seconds) {
      this.seconds.set(`${second[0]}/${second[1]}`, second);
      if (second[2] + second[3] > 0) {
        this.happened = Math.max(this.happened, second[0] + 1);
      }
    }
    for (const dot of pulse.dots) {
      this.dots.add(dot);
    }
    this._forget(this.now - KEPT_SECONDS);
  }

  private _addEvent(event: IEvent): void {
    if (event.kind === 'state' && event.version !== undefined) {
      const version = event.version;
      for (const span of this.spans) {
        if (span.version === version && span.end === null) {
          span.end = event.monotonic;
        }
      }
      const state = event.data?.state as PublicState;
      if (state !== 'END') {
        const harness = String(event.data?.harness ?? '');
        this.spans.push({ version, state, harness, start: event.monotonic, end: null });
      }
    }
    const text =
      event.line ??
      (event.kind === 'decision'
        ? `Policy: ${String(event.data?.act)} version ${event.version}, ${String(event.data?.why)}`
        : null);
    if (text !== null) {
      this.lines.push({ at: event.monotonic, wall: event.wall, text, kind: event.kind });
    }
  }

  private _forget(before: number): void {
    this.spans = this.spans.filter(span => span.end === null || span.end > before);
    this.lines = this.lines.filter(line => line.at > before);
    for (const [version, series] of this.memory) {
      const gone = series.at.findIndex(at => at > before);
      if (gone < 0) {
        this.memory.delete(version);
      } else if (gone > 0) {
        series.at.splice(0, gone);
        series.bytes.splice(0, gone);
        series.measured.splice(0, gone);
      }
    }
    for (const [key, second] of this.seconds) {
      if (second[0] < before) {
        this.seconds.delete(key);
      }
    }
    this.dots.forget(before);
  }

  /** The last known memory of each version's worker at each of `times`. */
  memoryAt(times: readonly number[]): Map<Version, number[]> {
    const table = new Map<Version, number[]>();
    for (const version of this.versions) {
      const series = this.memory.get(version);
      const alive = this.spans.filter(s => s.version === version && s.state !== 'START');
      if (series === undefined) {
        continue;
      }
      let index = -1;
      table.set(
        version,
        times.map(time => {
          while (index + 1 < series.at.length && series.at[index + 1] <= time) {
            index += 1;
          }
          const there = alive.some(s => s.start <= time && (s.end === null || time < s.end));
          return there && index >= 0 ? series.bytes[index] : 0;
        })
      );
    }
    return table;
  }

  /** Requests a second, answered (by version) and failed, in the whole seconds of a range. */
  ratesIn(
    start: number,
    end: number
  ): { at: number[]; by: Map<Version, number[]>; failed: number[] } {
    const first = Math.floor(start);
    const count = Math.max(0, Math.ceil(end) - first);
    const at = Array.from({ length: count }, (_, i) => first + i);
    const by = new Map<Version, number[]>();
    const failed = new Array<number>(count).fill(0);
    for (const [second, version, answered, refused] of this.seconds.values()) {
      const index = second - first;
      if (index < 0 || index >= count) {
        continue;
      }
      failed[index] += refused;
      if (version !== null) {
        let counts = by.get(version);
        if (counts === undefined) {
          counts = new Array<number>(count).fill(0);
          by.set(version, counts);
        }
        counts[index] += answered;
      }
    }
    return { at, by, failed };
  }

  /** The lines of the log within `reach` seconds of a moment. */
  linesAt(time: number, reach: number): ILine[] {
    return this.lines.filter(line => Math.abs(line.at - time) <= reach);
  }
}
