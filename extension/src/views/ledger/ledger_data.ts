/** Where the parts of a memory ledger lie on its bars. Does not touch the page. */

import type { IPart } from '../../protocol/generated';

export interface ISegment {
  part: IPart;
  /** Bytes from the left end of the bar. */
  start: number;
  end: number;
}

/** The parts from left to right; one below 0 (memory counted twice) takes no room. */
export function segmentsOf(parts: readonly IPart[]): ISegment[] {
  const found: ISegment[] = [];
  let start = 0;
  for (const part of parts) {
    if (part.bytes > 0) {
      found.push({ part, start, end: start + part.bytes });
      start += part.bytes;
    }
  }
  return found;
}

/** The segment over a number of bytes from the left. */
export function segmentAt(segments: readonly ISegment[], bytes: number): ISegment | null {
  return segments.find(segment => segment.start <= bytes && bytes < segment.end) ?? null;
}
