/** How batches were closed of late, from the counters that a server tells. No page is touched. */

import type { Version } from '../../protocol/version';

/** A version's counters since it was loaded, as the server has them. */
export interface IBatchCounts {
  batches: number;
  rows: number;
  requests: number;
  padding: number;
  queued_micros: number;
  request_run_micros: number;
  rejected: number;
  reasons: Record<string, number>;
  /** Batches by their rows. */
  sizes: Record<string, number>;
}

export interface IBatchVersion {
  version: Version;
  batches?: IBatchCounts;
}

/** What there was in a span of time, all versions together. */
export interface IBatches {
  seconds: number;
  batches: number;
  rows: number;
  requests: number;
  rejected: number;
  /** Mean microseconds of a request: in the queue, in the model. */
  queued: number | null;
  run: number | null;
  reasons: Map<string, number>;
  sizes: Map<number, number>;
}

interface ILook {
  at: number;
  counts: Map<Version, IBatchCounts>;
}

const LOOK_SECONDS = 1;

/** Why a batch was closed, in words; the keys are the server's. */
export const REASONS: Record<string, string> = {
  full: 'full',
  timeout: 'delay over',
  executor_idle: 'executor idle',
  drain: 'version leaves',
  split: 'task split'
};

export class BatchHistory {
  private _looks: ILook[] = [];
  private readonly _keep: number;

  /** @param keep - seconds that can be looked back. */
  constructor(keep = 60) {
    this._keep = keep;
  }

  add(now: number, versions: readonly IBatchVersion[]): void {
    const last = this._looks.at(-1);
    if (last !== undefined && now < last.at) {
      this._looks = [];
    }
    const counts = new Map<Version, IBatchCounts>();
    for (const { version, batches } of versions) {
      if (batches !== undefined) {
        counts.set(version, batches);
      }
    }
    const before = this._looks.at(-2);
    if (before !== undefined && now - before.at < LOOK_SECONDS) {
      // The newest look counts, older ones are a second apart.
      this._looks.pop();
    }
    this._looks.push({ at: now, counts });
    while (this._looks.length > 2 && this._looks[1].at <= now - this._keep) {
      this._looks.shift();
    }
  }

  /** What there was in the last `seconds`, as far as it was looked at. */
  within(seconds: number): IBatches {
    const last = this._looks.at(-1);
    const sum: IBatches = {
      seconds: 0,
      batches: 0,
      rows: 0,
      requests: 0,
      rejected: 0,
      queued: null,
      run: null,
      reasons: new Map(),
      sizes: new Map()
    };
    if (last === undefined) {
      return sum;
    }
    const first = this._looks.find(look => look.at >= last.at - seconds) ?? last;
    sum.seconds = last.at - first.at;
    let queued = 0;
    let run = 0;
    for (const [version, now] of last.counts) {
      const then = first.counts.get(version);
      // A version that was loaded meanwhile, or again, began with nothing.
      const base = then !== undefined && then.batches <= now.batches ? then : undefined;
      sum.batches += now.batches - (base?.batches ?? 0);
      sum.rows += now.rows - (base?.rows ?? 0);
      sum.requests += now.requests - (base?.requests ?? 0);
      sum.rejected += now.rejected - (base?.rejected ?? 0);
      queued += now.queued_micros - (base?.queued_micros ?? 0);
      run += now.request_run_micros - (base?.request_run_micros ?? 0);
      for (const [reason, count] of Object.entries(now.reasons)) {
        more(sum.reasons, reason, count - (base?.reasons[reason] ?? 0));
      }
      for (const [rows, count] of Object.entries(now.sizes)) {
        more(sum.sizes, Number(rows), count - (base?.sizes[rows] ?? 0));
      }
    }
    if (sum.requests > 0) {
      sum.queued = queued / sum.requests;
      sum.run = run / sum.requests;
    }
    return sum;
  }
}

function more<K>(counts: Map<K, number>, key: K, by: number): void {
  if (by > 0) {
    counts.set(key, (counts.get(key) ?? 0) + by);
  }
}

/** One bar of a histogram: batches of `from` to `to` rows. */
export interface IBin {
  from: number;
  to: number;
  count: number;
}

const MOST_BINS = 16;

/** Sizes in at most 16 bars: one for each size where they are few, else doubling ranges. */
export function bins(sizes: ReadonlyMap<number, number>): IBin[] {
  if (sizes.size === 0) {
    return [];
  }
  const most = Math.max(...sizes.keys());
  const found: IBin[] = [];
  if (most <= MOST_BINS) {
    for (let rows = 1; rows <= most; rows += 1) {
      found.push({ from: rows, to: rows, count: sizes.get(rows) ?? 0 });
    }
    return found;
  }
  for (let from = 1; from <= most; from *= 2) {
    const to = 2 * from - 1;
    let count = 0;
    for (const [rows, batches] of sizes) {
      if (rows >= from && rows <= to) {
        count += batches;
      }
    }
    found.push({ from, to, count });
  }
  return found;
}

/** What the batches of late tell, in a sentence or two. */
export function diagnosis(batches: IBatches): string {
  if (batches.batches === 0) {
    return 'No batch was run of late.';
  }
  const share = (reason: string) => (batches.reasons.get(reason) ?? 0) / batches.batches;
  const rows = batches.rows / batches.batches;
  const said = [`Batches had ${rows.toFixed(1)} rows on average.`];
  if (share('full') > 0.5) {
    said.push('Most were full before the delay was over: a larger max_batch_size could help.');
  } else if (share('timeout') > 0.5 && rows < 2) {
    said.push(
      'Most waited for the whole delay and hardly anybody joined: a shorter one costs nothing.'
    );
  } else if (
    share('timeout') > 0.5 &&
    Math.max(...batches.sizes.values()) > 0.8 * batches.batches
  ) {
    said.push(
      'Nearly all had as many: that is how many ask at a time, it seems, and the delay only waits.'
    );
  } else if (share('timeout') > 0.5) {
    said.push(
      'Most were closed by the delay: a longer one makes larger batches where more requests come.'
    );
  } else if (share('executor_idle') > 0.5) {
    said.push('Most began as soon as an executor was free: nothing waits for company.');
  }
  if (batches.rejected > 0) {
    said.push(`${batches.rejected} requests found the queue full.`);
  }
  return said.join(' ');
}
