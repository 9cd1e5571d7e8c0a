/** Version numbers. Does not touch the page. */

/** A version's number: exact, and so text where JavaScript's numbers are not (beyond 2^53 - 1).
 * Each number has one form, so that versions can be compared with `===` and be keys of a Map. */
export type Version = number | string;

/** The version that digits stand for. */
export function versionOf(digits: string): Version {
  const number = Number(digits);
  return Number.isSafeInteger(number) ? number : digits;
}

/** Below 0 where `a` is the earlier one, above where it is the later one, 0 where it is the same. */
export function compareVersions(a: Version, b: Version): number {
  if (typeof a === 'number' && typeof b === 'number') {
    return a - b;
  }
  const [first, second] = [BigInt(a), BigInt(b)];
  return first < second ? -1 : first > second ? 1 : 0;
}

/** The latest version; null if there is none. */
export function latestVersion(versions: readonly Version[]): Version | null {
  return versions.reduce<Version | null>(
    (latest, each) => (latest === null || compareVersions(each, latest) > 0 ? each : latest),
    null
  );
}

/** The version's number minus one, modulo `count`. */
export function placeOfVersion(version: Version, count: number): number {
  if (typeof version === 'number') {
    return (((version - 1) % count) + count) % count;
  }
  const whole = BigInt(count);
  return Number((((BigInt(version) - 1n) % whole) + whole) % whole);
}
