/** Which versions of a model are worth a row. */

import type { PublicState } from '../../protocol/generated';
import { compareVersions, latestVersion, type Version } from '../../protocol/version';

export interface IVersionAbout {
  version: Version;
  state: PublicState;
  error: { code: string; message: string } | null;
  load_seconds: number | null;
  /** What is unusual about it while it serves, a sentence each. */
  notes: string[];
}

/** Versions that have ended and could be gone back to; more would bury those that live. */
const ENDED_SHOWN = 3;

/** The versions that are shown, in the order they are told: those that live or failed, and the last
 * few that have ended and are earlier than one that serves. */
export function shownVersions(versions: readonly IVersionAbout[]): IVersionAbout[] {
  const latest = latestOf(versions);
  let ended = 0;
  return versions.filter(about => {
    if (about.state !== 'END' || about.error !== null) {
      return true;
    }
    if (latest === null || compareVersions(about.version, latest) > 0) {
      return false;
    }
    ended += 1;
    return ended <= ENDED_SHOWN;
  });
}

/** The latest version that serves; null where none does. */
export function latestOf(versions: readonly IVersionAbout[]): Version | null {
  const serving = versions.filter(about => about.state === 'AVAILABLE');
  return latestVersion(serving.map(about => about.version));
}
