/** Recent batches, from the counters that a server reports. Does not touch the page. */

import { type CLOSE_REASONS, DIAGNOSIS } from '../../protocol/generated';
import type { Version } from '../../protocol/version';

/** The server's counters of a version since it was loaded. */
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

/** The batches of a span of time, all versions together. */
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

type CloseReason = keyof typeof CLOSE_REASONS;

interface ILook {
  at: number;
  counts: Map<Version, IBatchCounts>;
}

const LOOK_SECONDS = 1;

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
      // Keep the newest look; older ones are a second apart.
      this._looks.pop();
    }
    this._looks.push({ at: now, counts });
    while (this._looks.length > 2 && this._looks[1].at <= now - this._keep) {
      this._looks.shift();
    }
  }

  /** The batches of the last `seconds`, or of as much of that as was observed. */
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
      // The counters of a version that was loaded since began at 0.
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

/** What recent batches say about the batching settings, in a sentence or two. */
export function diagnosis(batches: IBatches): string {
  if (batches.batches === 0) {
    return 'No batch ran recently.';
  }
  const mostly = (count = 0) => count >= DIAGNOSIS.mostly * batches.batches;
  const closed = (reason: CloseReason) => mostly(batches.reasons.get(reason));
  const rows = batches.rows / batches.batches;
  const [common, count] = [...batches.sizes].reduce((a, b) => (b[1] > a[1] ? b : a), [0, 0]);
  const said = [`Batches had ${rows.toFixed(1)} rows on average.`];
  if (closed('full')) {
    said.push('Almost every batch was full: a larger max_batch_size could help.');
  } else if (closed('timeout') && rows < 2) {
    said.push(
      'Almost every batch waited for the whole delay, and hardly any other request joined it: ' +
        'a shorter delay costs nothing.'
    );
  } else if (closed('timeout') && mostly(count)) {
    said.push(
      `Almost every batch had ${common} rows, so about ${common} rows arrive at once. ` +
        'The delay adds latency without making batches larger.'
    );
  } else if (closed('timeout')) {
    said.push(
      'Almost every batch waited for the whole delay: ' +
        'a longer delay makes batches larger if more requests arrive.'
    );
  } else if (closed('executor_idle')) {
    said.push('Almost every batch ran as soon as an executor was free, without waiting for more.');
  }
  if (batches.rejected > DIAGNOSIS.rejected * (batches.requests + batches.rejected)) {
    said.push(`The queue was full for ${batches.rejected} requests, which were rejected.`);
  }
  return said.join(' ');
}
