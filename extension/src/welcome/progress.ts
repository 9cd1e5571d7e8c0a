/** Progress through the labs. Does not touch the page. */

import type { ILab } from '../protocol/generated';

/** Whether a file is one of these labs. */
export function isLab(labs: readonly ILab[], path: string): boolean {
  return labs.some(lab => lab.name === path.slice(path.lastIndexOf('/') + 1));
}

/** The next lab: the first that is not completed. */
export function nextLab(labs: readonly ILab[]): string | null {
  return labs.find(lab => lab.state !== 'done')?.name ?? null;
}

/** How many are completed. */
export function doneCount(labs: readonly ILab[]): number {
  return labs.filter(lab => lab.state === 'done').length;
}
