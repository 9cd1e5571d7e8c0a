/** Round values on an axis of equal ratios. */

/** 1, 2 and 5 of each power of ten between two values above 0. */
export function oneTwoFives(low: number, high: number): number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
    for (const factor of [1, 2, 5]) {
      const value = Number((factor * 10 ** power).toPrecision(1));
      if (value >= low && value <= high) {
        found.push(value);
      }
    }
  }
  return found;
}
