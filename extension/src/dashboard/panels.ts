/** The dashboard's panels beside card and timeline: batches, memory, log. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { ICell, ILedger, ILogEvent } from '../api';
import {
  BatchHistory,
  bins,
  diagnosis,
  type IBatches,
  type IBatchVersion,
  REASONS
} from '../charts/batches_data';
import { dataTable, make } from '../charts/elements';
import { bytesText, clockText, countText, durationText } from '../charts/text';
import { themeOf, versionColour } from '../charts/theme';

const WINDOW_SECONDS = 15;
const LINES_KEPT = 2000;
const LINES_SHOWN = 500;

/** A box with a heading; `body` is the panel's own. */
export function panel(title: string, name: string, ...body: Node[]): HTMLElement {
  const id = `wb-panel-${name}-${(made += 1)}`;
  return make(
    'section',
    { class: `wb-live wb-Panel wb-Panel-${name}`, 'aria-labelledby': id },
    make('div', { class: 'wb-head' }, make('h2', { class: 'wb-name', id }, title)),
    make('div', { class: 'wb-section' }, ...body)
  );
}

let made = 0;

/** How batches were closed of late: sizes, reasons, and what that tells. */
export class BatchesPanel {
  readonly node: HTMLElement;
  private readonly _history = new BatchHistory();
  private readonly _bars = make('div', { class: 'wb-Bars', role: 'img' });
  private readonly _reasons = make('div', { class: 'wb-Reasons' });
  private readonly _figures = make('p', { class: 'wb-soft' });
  private readonly _words = make('p', { class: 'wb-Diagnosis' });
  private _drawn = '';

  constructor(trans: TranslationBundle) {
    this.node = panel(
      trans.__('Batches of the last %1 s', WINDOW_SECONDS),
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
    // At rest there is nothing to be laid out again.
    const { sizes, reasons: why, ...others } = batches;
    const drawn = JSON.stringify([[...sizes], [...why], others]);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    const found = bins(batches.sizes);
    const most = Math.max(1, ...found.map(bin => bin.count));
    this._bars.replaceChildren(
      ...found.map(bin => {
        const label = bin.from === bin.to ? String(bin.from) : `${bin.from}–${bin.to}`;
        const bar = make('span', { class: 'wb-Bars-bar' });
        bar.style.height = `${(100 * bin.count) / most}%`;
        return make(
          'div',
          { class: 'wb-Bars-bin', title: `${label} rows: ${bin.count} batches` },
          make('div', { class: 'wb-Bars-room' }, bar),
          make('span', { class: 'wb-Bars-label' }, label)
        );
      })
    );
    const told = found.filter(bin => bin.count > 0).map(bin => `${bin.from} rows: ${bin.count}`);
    this._bars.setAttribute('aria-label', `Batches by rows. ${told.join(', ') || 'None.'}`);
    this._bars.hidden = found.length === 0;
    const reasons = [...batches.reasons].sort((a, b) => b[1] - a[1]);
    this._reasons.replaceChildren(
      ...reasons.map(([reason, count]) => {
        const share = Math.round((100 * count) / Math.max(1, batches.batches));
        const bar = make(
          'span',
          { class: 'wb-membar' },
          make('span', { class: 'wb-Reasons-fill' })
        );
        (bar.firstElementChild as HTMLElement).style.width = `${share}%`;
        return make('div', {}, bar, `${REASONS[reason] ?? reason} ${share} %`);
      })
    );
    const times =
      batches.queued === null || batches.run === null
        ? ''
        : `, queued ${durationText(batches.queued)}, in the model ${durationText(batches.run)} each`;
    const rate = batches.seconds > 0 ? batches.batches / batches.seconds : 0;
    this._figures.textContent =
      batches.batches === 0
        ? ''
        : `${countText(rate)} batches/s of ${countText(batches.requests)} requests${times}`;
    this._words.textContent = diagnosis(batches);
  }
}

/** Who holds which memory. */
export class LedgerPanel {
  readonly node: HTMLElement;
  private readonly _body = make('div');
  private _drawn = '';

  constructor(private readonly _trans: TranslationBundle) {
    this.node = panel(_trans.__('Memory ledger'), 'ledger', this._body);
  }

  show(ledger: ILedger): void {
    const trans = this._trans;
    const { dark } = themeOf(this._body);
    const told = ledger.cells.map(cell => [
      whose(cell),
      cell.kind,
      bytesText(cell.bytes),
      cell.how
    ]);
    const limits = Object.values(ledger.budget).map(each => Object.values(each).map(bytesText));
    const drawn = JSON.stringify([told, limits, ledger.notes, dark]);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    const parts: Node[] = [];
    for (const machine of ledger.machines) {
      const cells = ledger.cells.filter(cell => cell.device === machine.device);
      const budget = ledger.budget[machine.device];
      const limits =
        budget === undefined
          ? ''
          : `, ${trans.__(
              'budget %1: %2 reserved, %3 free',
              bytesText(budget.limit),
              bytesText(budget.reserved),
              bytesText(budget.free)
            )}`;
      parts.push(
        make(
          'p',
          { class: 'wb-soft' },
          `${machine.device}: ${bytesText(machine.total)} (${machine.scope})${limits}`
        ),
        this._bar(cells, machine.total),
        dataTable(
          trans.__('Memory of %1', machine.device),
          [trans.__('who'), trans.__('what'), trans.__('how much'), trans.__('known')].map(String),
          cells
            .filter(cell => cell.bytes !== 0)
            .map(cell => [whose(cell), cell.kind, bytesText(cell.bytes), cell.how])
        )
      );
    }
    for (const note of ledger.notes) {
      parts.push(make('p', { class: 'wb-soft' }, note));
    }
    this._body.replaceChildren(...parts);
  }

  private _bar(cells: readonly ICell[], total: number): HTMLElement {
    const { dark } = themeOf(this._body);
    const bar = make('div', { class: 'wb-LedgerBar', role: 'img' });
    const told: string[] = [];
    for (const cell of cells) {
      const size = Math.max(0, cell.bytes);
      if (size > 0) {
        const text = `${whose(cell)}, ${cell.kind}: ${bytesText(size)}`;
        const part = make('span', { class: `wb-LedgerBar-${cell.owner}`, title: text });
        part.dataset.kind = cell.kind;
        part.style.width = `${(100 * size) / Math.max(1, total)}%`;
        if (cell.version !== null) {
          part.style.background = versionColour(cell.version, dark);
        }
        told.push(text);
        bar.append(part);
      }
    }
    bar.setAttribute('aria-label', told.join('; '));
    return bar;
  }
}

function whose(cell: ICell): string {
  return cell.model === null ? cell.owner : `${cell.model} ${cell.version ?? ''}`.trim();
}

/** The server's event log, in TensorFlow Serving's wording, with a filter. */
export class LogPanel {
  readonly node: HTMLElement;
  private readonly _filter = make('input', { type: 'search' });
  private readonly _mine = make('input', { type: 'checkbox' });
  private readonly _lines = make('ol', { class: 'wb-lines wb-Log', tabindex: '0' });
  private readonly _count = make('span', { class: 'wb-soft wb-end', role: 'status' });
  private _events: ILogEvent[] = [];

  constructor(
    private readonly _model: string,
    trans: TranslationBundle
  ) {
    this._filter.placeholder = trans.__('filter, e.g. loaded');
    this._filter.setAttribute('aria-label', trans.__('Filter the event log'));
    this._lines.setAttribute('aria-label', trans.__('Event log, newest last'));
    this.node = panel(
      trans.__('Event log'),
      'log',
      make(
        'div',
        { class: 'wb-controls' },
        this._filter,
        make('label', {}, this._mine, trans.__('this model only')),
        this._count
      ),
      this._lines
    );
    for (const input of [this._filter, this._mine]) {
      input.addEventListener('input', () => this._show());
    }
  }

  /** The number of the last event that is known. */
  get seq(): number {
    return this._events.at(-1)?.seq ?? 0;
  }

  /** The server process is being replaced: its log begins anew. */
  clear(): void {
    this._events = [];
  }

  add(events: readonly ILogEvent[], last: number): void {
    if (last < this.seq) {
      this.clear();
    }
    const fresh = events.filter(event => event.seq > this.seq);
    if (fresh.length > 0) {
      this._events = [...this._events, ...fresh].slice(-LINES_KEPT);
      this._show();
    }
  }

  private _show(): void {
    const wanted = this._filter.value.trim().toLowerCase();
    const told = this._events.filter(
      event =>
        event.line !== undefined &&
        (!this._mine.checked || event.model === this._model) &&
        event.line.toLowerCase().includes(wanted)
    );
    const atEnd = this._lines.scrollTop + this._lines.clientHeight >= this._lines.scrollHeight - 8;
    this._lines.replaceChildren(
      ...told
        .slice(-LINES_SHOWN)
        .map(event =>
          make(
            'li',
            { title: event.line ?? '' },
            make('span', { class: 'wb-when' }, clockText(event.wall)),
            event.line ?? ''
          )
        )
    );
    this._count.textContent = `${told.length} lines`;
    if (atEnd) {
      this._lines.scrollTop = this._lines.scrollHeight;
    }
  }
}
