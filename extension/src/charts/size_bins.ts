/** One bar of a histogram of batch sizes: batches of `from` to `to` rows. */
export interface IBin {
  from: number;
  to: number;
  count: number;
}

const MOST_BINS = 16;

/** A histogram of batch sizes: a bar for each size up to 16, else for each doubling.
 *
 * @param sizes - rows, and how many batches had so many.
 * @param largest - up to where there are bars. */
export function sizeBins(sizes: Iterable<readonly [number, number]>, largest: number): IBin[] {
  const bins: IBin[] = [];
  for (let from = 1; from <= largest;) {
    const to = largest <= MOST_BINS ? from : 2 * from - 1;
    bins.push({ from, to, count: 0 });
    from = to + 1;
  }
  for (const [rows, count] of sizes) {
    const bin = bins.find(each => rows >= each.from && rows <= each.to);
    if (bin !== undefined) {
      bin.count += count;
    }
  }
  return bins;
}

/** `7`, or `8–15`. */
export function binText({ from, to }: IBin): string {
  return from === to ? String(from) : `${from}–${to}`;
}
