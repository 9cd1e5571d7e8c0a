/** Numbers in words, as all charts and tables write them. */

/** 36 MB, 1.4 GB: powers of 1024, as the Python side counts. */
export function bytesText(bytes: number): string {
  const mega = bytes / 2 ** 20;
  if (mega < 1000) {
    return `${mega < 10 ? mega.toFixed(1) : mega.toFixed(0)} MB`;
  }
  const giga = mega / 1024;
  return `${giga < 10 ? giga.toFixed(1) : giga.toFixed(0)} GB`;
}

/** 0.42 ms, 12 ms, 1.5 s. */
export function durationText(micros: number): string {
  const millis = micros / 1e3;
  if (millis >= 1000) {
    return `${(millis / 1e3).toFixed(millis < 10_000 ? 1 : 0)} s`;
  }
  return `${millis < 1 ? millis.toFixed(2) : millis < 10 ? millis.toFixed(1) : millis.toFixed(0)} ms`;
}

/** 950, 1.2 k, 34 k. */
export function countText(count: number): string {
  if (count < 1000) {
    return count < 10 && count % 1 ? count.toFixed(1) : count.toFixed(0);
  }
  return count < 10_000 ? `${(count / 1e3).toFixed(1)} k` : `${(count / 1e3).toFixed(0)} k`;
}

/** 14:03:22 of a time in seconds since the epoch. */
export function clockText(wall: number): string {
  return new Date(wall * 1e3).toTimeString().slice(0, 8);
}

/** An error's own message. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The share of requests that were answered within the wanted latency, rounded down. */
export function goodputText(requests: number, within: number, target?: number | null): string {
  if (target === undefined || target === null) {
    return '';
  }
  const share =
    requests > 0 ? `${(Math.floor((1000 * within) / requests) / 10).toFixed(1)} %` : '–';
  return `${share} within ${target} ms`;
}
