/** Where the parts of a memory ledger lie on its bars. Nothing here touches the page. */

import type { Version } from '../../protocol/version';

/** One stretch of a device's bar, in bytes. */
export interface IPart {
  label: string;
  kind: string;
  bytes: number;
  how: 'measured' | 'estimated';
  model: string | null;
  version: Version | null;
}

export interface IDevice {
  device: string;
  total: number;
  scope: string;
  /** What versions may have together, and have of it; null: there is no budget. */
  limit: number | null;
  reserved: number;
  /** What versions hold or have been promised, and up to where they may grow; in bytes of the
   * bar: it counts shares of what processes have in common, and the budget does not. */
  taken: number;
  budget_at: number | null;
  parts: IPart[];
  summary: string;
}

export interface ISegment {
  part: IPart;
  /** Bytes from the left end of the bar. */
  start: number;
  end: number;
}

const MARGIN = 1.04;
/** A budget up to so many times what is held is drawn into the magnified bar. */
const NEAR = 2.5;
/** What takes more of the whole bar than this is not magnified. */
const WIDE = 0.5;

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

export function isOurs(part: IPart): boolean {
  return part.kind !== 'unattributed' && part.kind !== 'free';
}

/** Up to how many bytes the magnified bar goes; null where the whole one shows it well enough.
 * `asked` is what one more version would need. */
export function magnifiedTo(device: IDevice, asked = 0): number | null {
  const ours = device.parts.filter(isOurs).reduce((sum, part) => sum + Math.max(0, part.bytes), 0);
  let end = Math.max(ours, asked > 0 ? device.taken + asked : 0);
  const budget = device.budget_at;
  if (budget !== null && budget > end && budget < NEAR * end) {
    end = budget;
  }
  end *= MARGIN;
  return ours === 0 || end > WIDE * device.total ? null : end;
}

/** The segment over a number of bytes from the left. */
export function segmentAt(segments: readonly ISegment[], bytes: number): ISegment | null {
  return segments.find(segment => segment.start <= bytes && bytes < segment.end) ?? null;
}
