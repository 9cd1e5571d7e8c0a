/** Which versions of a model get a row. */

import type { IVersionDescription } from '../../protocol/generated';
import { compareVersions, latestVersion, type Version } from '../../protocol/version';

/** Ended versions that a rollback can reach; more would bury those that are alive. */
const ENDED_SHOWN = 3;

/** The versions to show, in the server's order: those that are alive or failed, and the last few
 * ended ones before the latest that serves. */
export function shownVersions(versions: readonly IVersionDescription[]): IVersionDescription[] {
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

/** The latest version that serves; null if none does. */
export function latestOf(versions: readonly IVersionDescription[]): Version | null {
  const serving = versions.filter(about => about.state === 'AVAILABLE');
  return latestVersion(serving.map(about => about.version));
}
