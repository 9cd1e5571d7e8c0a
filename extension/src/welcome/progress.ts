/** The labs, and how far they were run. No page is touched here. */

import type { ILab } from '../protocol/api';

/** Whether a file of the user's is one of these labs. */
export function isLab(labs: readonly ILab[], path: string): boolean {
  return labs.some(lab => lab.name === path.slice(path.lastIndexOf('/') + 1));
}

/** The lab to go on with: the first that was not run to its end. */
export function nextLab(labs: readonly ILab[]): string | null {
  return labs.find(lab => lab.state !== 'done')?.name ?? null;
}

/** How many were run to their end. */
export function doneCount(labs: readonly ILab[]): number {
  return labs.filter(lab => lab.state === 'done').length;
}
