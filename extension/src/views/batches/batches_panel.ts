/** The dashboard's panel of batches: sizes, close reasons, and what they say about the settings. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { make } from '../../charts/elements';
import { binText, sizeBins } from '../../charts/size_bins';
import { countText, durationText } from '../../charts/text';
import { CLOSE_REASONS } from '../../protocol/generated';
import { panel } from '../panel';
import { BatchHistory, diagnosis, type IBatches, type IBatchVersion } from './batches_data';

const WINDOW_SECONDS = 15;

const words: Readonly<Record<string, string>> = CLOSE_REASONS;

/** Recent batches: sizes, close reasons, and what they say about the settings. */
export class BatchesPanel {
  readonly node: HTMLElement;
  private readonly _history = new BatchHistory();
  private readonly _bars = make('div.wb-Bars', { role: 'img' });
  private readonly _reasons = make('div.wb-Reasons');
  private readonly _figures = make('p.wb-soft');
  private readonly _words = make('p.wb-Diagnosis');
  private _drawn = '';

  constructor(trans: TranslationBundle) {
    this.node = panel(
      trans.__('Batches in the last %1 s', WINDOW_SECONDS),
      'batches',
      this._bars,
      this._reasons,
      this._figures,
      this._words
    );
    this._show(this._history.within(WINDOW_SECONDS));
  }

  add(now: number, versions: readonly IBatchVersion[]): void {
    this._history.add(now, versions);
    this._show(this._history.within(WINDOW_SECONDS));
  }

  private _show(batches: IBatches): void {
    // Do not lay out the page again while nothing changes.
    const { sizes, reasons: why, ...others } = batches;
    const drawn = JSON.stringify([[...sizes], [...why], others]);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    const found = sizeBins(batches.sizes, Math.max(0, ...batches.sizes.keys()));
    const most = Math.max(1, ...found.map(bin => bin.count));
    this._bars.replaceChildren(
      ...found.map(bin => {
        const label = binText(bin);
        const bar = make('span.wb-Bars-bar', { style: `height: ${(100 * bin.count) / most}%` });
        return make('div.wb-Bars-bin', { title: `${label} rows: ${bin.count} batches` }, [
          make('div.wb-Bars-room', bar),
          make('span.wb-Bars-label', label)
        ]);
      })
    );
    const told = found
      .filter(bin => bin.count > 0)
      .map(bin => `${binText(bin)} rows: ${bin.count}`);
    this._bars.setAttribute(
      'aria-label',
      `Batches by number of rows. ${told.join(', ') || 'None.'}`
    );
    this._bars.hidden = found.length === 0;
    const reasons = [...batches.reasons].sort((a, b) => b[1] - a[1]);
    this._reasons.replaceChildren(
      ...reasons.map(([reason, count]) => {
        const share = Math.round((100 * count) / Math.max(1, batches.batches));
        const fill = make('span.wb-Reasons-fill', { style: `width: ${share}%` });
        return make('div', [make('span.wb-membar', fill), `${words[reason] ?? reason} ${share} %`]);
      })
    );
    const times =
      batches.queued === null || batches.run === null
        ? ''
        : `, queued ${durationText(batches.queued)}, run ${durationText(batches.run)} on average`;
    const rate = batches.seconds > 0 ? batches.batches / batches.seconds : 0;
    this._figures.textContent =
      batches.batches === 0
        ? ''
        : `${countText(rate)} batches/s, ${countText(batches.requests)} requests${times}`;
    this._words.textContent = diagnosis(batches);
  }
}
