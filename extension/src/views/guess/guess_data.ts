/** A curve drawn by hand over a fixed grid. */

export class Guess {
  /** The grid, ascending. */
  readonly xs: readonly number[];
  values: (number | null)[];

  constructor(xs: readonly number[]) {
    this.xs = xs;
    this.values = xs.map(() => null);
  }

  /** A stroke from one point to another: every grid place between takes its value. */
  stroke(from: { x: number; y: number }, to: { x: number; y: number }): void {
    const [left, right] = from.x <= to.x ? [from, to] : [to, from];
    this.xs.forEach((x, i) => {
      if (x >= left.x && x <= right.x) {
        const share = right.x === left.x ? 1 : (x - left.x) / (right.x - left.x);
        this.values[i] = left.y + share * (right.y - left.y);
      }
    });
    // A tap between two places of the grid means the nearer one.
    this.values[this.nearest(to.x)] = to.y;
  }

  nearest(x: number): number {
    let best = 0;
    this.xs.forEach((place, i) => {
      if (Math.abs(place - x) < Math.abs(this.xs[best] - x)) {
        best = i;
      }
    });
    return best;
  }
}
