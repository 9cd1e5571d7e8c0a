import type { TranslationBundle } from '@jupyterlab/translation';

import { make } from '../../charts/elements';
import { clockText } from '../../charts/text';
import type { ILogEvent } from '../../protocol/generated';
import { panel } from '../panel';

const LINES_KEPT = 2000;
const LINES_SHOWN = 500;

/** The server's event log, in TensorFlow Serving's wording, with a filter. */
export class LogPanel {
  readonly node: HTMLElement;
  private readonly _filter = make('input', { type: 'search' });
  private readonly _mine = make('input', { type: 'checkbox' });
  private readonly _lines = make('ol.wb-lines.wb-Log', { tabindex: '0' });
  private readonly _count = make('span.wb-soft.wb-end', { role: 'status' });
  private _events: ILogEvent[] = [];

  constructor(
    private readonly _model: string,
    trans: TranslationBundle
  ) {
    this._filter.placeholder = trans.__('Filter, e.g. loaded');
    this._filter.setAttribute('aria-label', trans.__('Filter the event log'));
    this._lines.setAttribute('aria-label', trans.__('Event log, newest last'));
    this.node = panel(
      trans.__('Event log'),
      'log',
      make('div.wb-controls', [
        this._filter,
        make('label', [this._mine, trans.__('this model only')]),
        this._count
      ]),
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

  /** The server process is being replaced, and its log starts again. */
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
          make('li', { title: event.line ?? '' }, [
            make('span.wb-when', [clockText(event.wall)]),
            event.line ?? ''
          ])
        )
    );
    this._count.textContent = `${told.length} lines`;
    if (atEnd) {
      this._lines.scrollTop = this._lines.scrollHeight;
    }
  }
}
