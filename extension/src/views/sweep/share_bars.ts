/** Simulated and measured shares as bars made of elements, with text for screen readers. */

import { CLOSE_REASONS } from '../../protocol/generated';
import { make } from '../../charts/elements';
import { binText, sizeBins } from '../../charts/size_bins';
import { largestBatch, percent, reasonShares, type IPoint } from './sweep_data';

/** Pixels of a bar that is everything. */
const WIDEST = 30;

/** A bar of the simulated (0) or the measured share (1); a share of 0 has no outline. */
function shareBar(kind: number, share: number | null): HTMLElement {
  const look = kind === 0 ? 'wb-simulated' : 'wb-real';
  return make('span', { class: share ? look : '' });
}

/** The share of batches in each bar. */
function sizeShares(point: IPoint, largest: number): number[] {
  const total = point.sizes.reduce((sum, [, count]) => sum + count, 0);
  return sizeBins(point.sizes, largest).map(bin => bin.count / Math.max(1, total));
}

/** How the sizes of batches are spread, up to the largest that there was. */
export function sizeHistogram(simulated: IPoint | null, measured: IPoint | null): HTMLElement {
  const points = [simulated, measured];
  const largest = largestBatch(...points);
  const spreads = points.map(point => (point === null ? null : sizeShares(point, largest)));
  const most = Math.max(0.01, ...spreads.flatMap(each => each ?? []));
  const columns = sizeBins([], largest).map((bin, i) => {
    const rows = `${binText(bin)} rows`;
    const shares = spreads.map(each => each?.[i] ?? null);
    const title = shares
      .map((share, k) =>
        share === null ? '' : `${k ? 'measured' : 'simulated'} ${percent(share)}`
      )
      .filter(text => text !== '')
      .join(', ');
    return make(
      'div',
      { class: 'wb-column', title: `${rows}: ${title}` },
      ...shares.map((share, k) => {
        const bar = shareBar(k, share);
        bar.style.height = `${(100 * (share ?? 0)) / most}%`;
        return bar;
      })
    );
  });
  const words = points
    .map((point, k) =>
      point === null
        ? ''
        : `${k ? 'measured' : 'simulated'} ${point.batchRows.toFixed(1)} rows on average`
    )
    .filter(text => text !== '')
    .join(', ');
  return make(
    'figure',
    { class: 'wb-histogram', role: 'img', 'aria-label': `Batch sizes: ${words || 'no data'}` },
    make('figcaption', {}, 'Rows per batch'),
    make('div', { class: 'wb-sizes' }, ...columns),
    make('div', { class: 'wb-ends' }, make('span', {}, '1'), make('span', {}, String(largest)))
  );
}

/** Why batches were closed. */
export function reasonBars(simulated: IPoint | null, measured: IPoint | null): HTMLElement {
  const tables = [simulated, measured].map(point => (point === null ? null : reasonShares(point)));
  const rows = Object.values(CLOSE_REASONS).flatMap((name, i) =>
    tables.every(table => !table?.[i])
      ? []
      : make(
          'tr',
          {},
          make('th', { scope: 'row' }, name),
          ...tables.map((table, k) => {
            const share = table?.[i] ?? null;
            const bar = shareBar(k, share);
            bar.style.width = `${WIDEST * (share ?? 0)}px`;
            return make('td', {}, bar, share === null ? '–' : percent(share));
          })
        )
  );
  const head = ['closed by', 'simulated', 'measured'];
  return make(
    'table',
    { class: 'wb-reasons' },
    make('thead', {}, make('tr', {}, ...head.map(text => make('th', { scope: 'col' }, text)))),
    make('tbody', {}, ...rows)
  );
}
