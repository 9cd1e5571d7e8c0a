/** Which versions of a model are worth a row. */

export interface IVersionAbout {
  version: number;
  state: string;
  error: { code: string; message: string } | null;
  load_seconds: number | null;
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
    if (about.version > latest) {
      return false;
    }
    ended += 1;
    return ended <= ENDED_SHOWN;
  });
}

/** The latest version that serves; -1 where none does. */
export function latestOf(versions: readonly IVersionAbout[]): number {
  const serving = versions.filter(about => about.state === 'AVAILABLE');
  return Math.max(-1, ...serving.map(about => about.version));
}
