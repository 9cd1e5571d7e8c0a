/** Shares as bars of plain elements, simulated beside measured: they are text for everybody who
 * does not see them. */

import { make } from '../../charts/elements';
import { largestBatch, percent, reasonShares, sizeBins, type IPoint } from './sweep_data';

/** Pixels of a bar that is everything. */
const WIDEST = 30;

/** A bar that is simulated (0) or measured (1); of nothing there is nothing to be seen. */
function shareBar(kind: number, share: number | null): HTMLElement {
  const look = kind === 0 ? 'wb-simulated' : 'wb-real';
  return make('span', { class: share ? look : '' });
}

/** How the sizes of batches are spread, up to the largest that there was. */
export function sizeHistogram(simulated: IPoint | null, measured: IPoint | null): HTMLElement {
  const points = [simulated, measured];
  const largest = largestBatch(...points);
  const bins = points.map(point => (point === null ? null : sizeBins(point.sizes, largest)));
  const most = Math.max(0.01, ...bins.flatMap(each => each?.map(bin => bin.share) ?? []));
  const first = sizeBins([], largest);
  const columns = first.map((bin, i) => {
    const rows = bin.from === bin.to ? `${bin.from} rows` : `${bin.from} to ${bin.to} rows`;
    const shares = bins.map(each => each?.[i].share ?? null);
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
        : `${k ? 'measured' : 'simulated'} ${point.batchRows.toFixed(1)} rows in the mean`
    )
    .filter(text => text !== '')
    .join(', ');
  return make(
    'figure',
    { class: 'wb-histogram', role: 'img', 'aria-label': `Batch sizes: ${words || 'nothing yet'}` },
    make('figcaption', {}, 'rows of a batch'),
    make('div', { class: 'wb-sizes' }, ...columns),
    make('div', { class: 'wb-ends' }, make('span', {}, '1'), make('span', {}, String(largest)))
  );
}

/** Why batches were closed. */
export function reasonBars(simulated: IPoint | null, measured: IPoint | null): HTMLElement {
  const tables = [simulated, measured].map(point => (point === null ? null : reasonShares(point)));
  const names = (tables[0] ?? tables[1] ?? []).map(([name]) => name);
  const rows = names.map((name, i) =>
    make(
      'tr',
      {},
      make('th', { scope: 'row' }, name),
      ...tables.map((table, k) => {
        const share = table?.[i][1] ?? null;
        const bar = shareBar(k, share);
        bar.style.width = `${WIDEST * (share ?? 0)}px`;
        return make('td', {}, bar, share === null ? '–' : percent(share));
      })
    )
  );
  const head = ['closed because', 'simulated', 'measured'];
  return make(
    'table',
    { class: 'wb-reasons' },
    make('thead', {}, make('tr', {}, ...head.map(text => make('th', { scope: 'col' }, text)))),
    make('tbody', {}, ...rows)
  );
}
