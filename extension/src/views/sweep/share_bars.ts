/** Simulated and measured shares as bars made of elements, with text for screen readers. */

import { CLOSE_REASONS } from '../../protocol/generated';
import { make, tableHead } from '../../charts/elements';
import { binText, sizeBins } from '../../charts/size_bins';
import { largestBatch, percent, reasonShares, type IPoint } from './sweep_data';

/** The width of a bar of 100 %, in pixels. */
const WIDEST = 30;

const KINDS = ['simulated', 'measured'] as const;
const LOOKS = ['wb-simulated', 'wb-real'];

/** A bar of one of `KINDS`; a share of 0 has no outline. */
function shareBar(kind: number, share: number | null, style: string): HTMLElement {
  return make('span', { class: share ? LOOKS[kind] : '', style });
}

/** The values of each of `KINDS` in words, without those that are null. */
function wordsOf(values: readonly (number | null)[], text: (value: number) => string): string {
  return values
    .flatMap((value, kind) => (value === null ? [] : [`${KINDS[kind]} ${text(value)}`]))
    .join(', ');
}

/** The share of batches in each bar. */
function sizeShares(point: IPoint, largest: number): number[] {
  const total = point.sizes.reduce((sum, [, count]) => sum + count, 0);
  return sizeBins(point.sizes, largest).map(bin => bin.count / Math.max(1, total));
}

/** The distribution of batch sizes, up to the largest batch. */
export function sizeHistogram(simulated: IPoint | null, measured: IPoint | null): HTMLElement {
  const points = [simulated, measured];
  const largest = largestBatch(...points);
  const spreads = points.map(point => point && sizeShares(point, largest));
  const most = Math.max(0.01, ...spreads.flatMap(each => each ?? []));
  const columns = sizeBins([], largest).map((bin, i) => {
    const shares = spreads.map(each => each?.[i] ?? null);
    const bars = shares.map((share, kind) =>
      shareBar(kind, share, `height: ${(100 * (share ?? 0)) / most}%`)
    );
    const title = `${binText(bin)} rows: ${wordsOf(shares, percent)}`;
    return make('div.wb-column', { title }, bars);
  });
  const words = wordsOf(
    points.map(point => point && point.batchRows),
    rows => `${rows.toFixed(1)} rows on average`
  );
  const label = `Batch sizes: ${words || 'no data'}`;
  return make('figure.wb-histogram', { role: 'img', 'aria-label': label }, [
    make('figcaption', 'Rows per batch'),
    make('div.wb-sizes', columns),
    make('div.wb-ends', [make('span', '1'), make('span', String(largest))])
  ]);
}

/** Why batches were closed. */
export function reasonBars(simulated: IPoint | null, measured: IPoint | null): HTMLElement {
  const tables = [simulated, measured].map(point => point && reasonShares(point));
  const rows = Object.values(CLOSE_REASONS).flatMap((name, i) => {
    const shares = tables.map(table => table?.[i] ?? null);
    const cells = shares.map((share, kind) => {
      const bar = shareBar(kind, share, `width: ${WIDEST * (share ?? 0)}px`);
      return make('td', [bar, share === null ? '–' : percent(share)]);
    });
    return shares.some(Boolean) ? [make('tr', [make('th', { scope: 'row' }, name), ...cells])] : [];
  });
  return make('table.wb-reasons', [tableHead(['closed by', ...KINDS]), make('tbody', rows)]);
}
