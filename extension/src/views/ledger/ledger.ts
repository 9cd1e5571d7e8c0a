/** The memory ledger as a widget: bars, legend, table, and *Will it fit?* */

import { button, dataTable, make, tableButton } from '../../charts/elements';
import type { IDevice, IPart } from '../../protocol/generated';
import { Link, type IModel } from '../../protocol/link';
import { AsOf } from '../as_of';
import { amount, DeviceList } from './device_list';

interface ITransition {
  name: string;
  fits: boolean;
  words: string;
  cure: string;
}

interface IFit {
  head: string;
  fits: boolean;
  peak: Record<string, number>;
  transition: string;
  transitions: ITransition[];
}

export class LedgerView {
  private readonly _link: Link;
  private readonly _asOf = new AsOf();
  private readonly _devices = new DeviceList(part => {
    this._selected = part;
    this._say();
  });
  private readonly _said = make('p', { class: 'wb-summary', role: 'status' });
  private readonly _notes = make('p', { class: 'wb-soft', hidden: '' });
  private readonly _twin = make('div', { class: 'wb-twin', hidden: '' });
  private readonly _answer = make('div', { class: 'wb-scroll' });
  private readonly _message = make('p', { class: 'wb-message', role: 'status' });
  private readonly _path: HTMLInputElement;
  private readonly _ask: HTMLButtonElement;
  private _told: IDevice[] = [];
  private _fit: IFit | null = null;
  private _selected: IPart | null = null;
  private _wall = 0;
  private _ended = '';
  private _asking = false;

  constructor(node: HTMLElement, model: IModel) {
    const about = model.get('about') as { name: string; model: string };
    this._path = make('input', {
      type: 'text',
      placeholder: 'folder of a SavedModel',
      'aria-label': 'folder of a SavedModel'
    });
    this._ask = button('Will it fit?', 'Check without loading anything', () => void this._askFit());
    this._path.addEventListener('keydown', event => {
      // The page's own keys (run the cell ...) are not meant here.
      event.stopPropagation();
      if (event.key === 'Enter') {
        void this._askFit();
      }
    });
    const table = tableButton(this._twin, () => this._fillTwin());
    node.append(
      make(
        'div',
        { class: 'wb-head' },
        make('span', { class: 'wb-name' }, 'Memory'),
        make('span', { class: 'wb-soft' }, about.name),
        this._asOf.node
      ),
      make(
        'div',
        { class: 'wb-section' },
        make('div', { class: 'wb-bar' }, this._said, table),
        this._devices.node,
        this._notes,
        this._twin
      ),
      make(
        'div',
        { class: 'wb-section' },
        make(
          'div',
          { class: 'wb-controls' },
          make('label', {}, `as the next version of ${about.model}`, this._path),
          this._ask
        ),
        this._message,
        this._answer
      )
    );
    this._link = new Link(model, node);
    this._link.onNews = message => this._news(message);
    this._link.onSilence = silent => this._tell(silent);
  }

  dispose(): void {
    this._link.dispose();
    this._devices.dispose();
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'ended') {
      this._ended = String(message.text);
    } else if (message.kind === 'ledger') {
      this._ended = '';
      this._wall = message.wall as number;
      this._told = message.devices as IDevice[];
      const notes = message.notes as string[];
      this._notes.hidden = notes.length === 0;
      this._notes.textContent = notes.join('\n');
      if (message.fit !== undefined) {
        this._showFit(message.fit as IFit);
      }
      this._draw();
    } else if (message.kind === 'fit') {
      this._told = message.devices as IDevice[];
      this._showFit(message.fit as IFit);
      this._draw();
    }
    this._tell(false);
  }

  private _tell(silent: boolean): void {
    const end = this._ended || (silent ? this._link.silence : '');
    this._asOf.show(this._wall, end);
    this._ask.disabled = this._path.disabled = end !== '' || this._asking;
  }

  private _draw(): void {
    this._devices.show(this._told, this._fit?.peak);
    this._fillTwin();
    this._say();
  }

  /** Describe the selected part. */
  private _say(): void {
    const part = this._selected;
    this._said.textContent =
      part === null
        ? 'Point at a part of a bar, or use the arrow keys.'
        : `${part.label}: ${amount(part.bytes)}, ${part.how}`;
  }

  private _fillTwin(): void {
    if (this._twin.hidden) {
      return;
    }
    const rows = this._told.flatMap(device =>
      device.parts.map(part => [
        device.device,
        part.label,
        amount(part.bytes),
        `${((100 * part.bytes) / device.total).toFixed(2)} %`,
        part.how
      ])
    );
    const head = ['device', 'part', 'size', 'share of device', 'source'];
    this._twin.replaceChildren(dataTable('Memory by owner', head, rows));
  }

  private async _askFit(): Promise<void> {
    if (this._ask.disabled) {
      return;
    }
    this._asking = true;
    this._ask.disabled = true;
    this._message.classList.remove('wb-bad');
    this._message.textContent = 'Reading the files …';
    const { ok, text } = await this._link.order('fit', { path: this._path.value });
    this._asking = false;
    this._message.textContent = text;
    this._message.classList.toggle('wb-bad', !ok);
    if (!ok) {
      this._fit = null;
      this._answer.replaceChildren();
      this._draw();
    }
    this._tell(false);
  }

  private _showFit(fit: IFit): void {
    this._fit = fit;
    const rows = fit.transitions.map(each => {
      const verdict = make('td', {}, each.fits ? '✓ fits' : '✗ does not fit');
      verdict.classList.toggle('wb-bad', !each.fits);
      const name =
        each.name === fit.transition.split('+')[0] ? `${each.name} (current)` : each.name;
      const cure = make('td', { class: 'wb-wrap' }, each.cure || '–');
      return make('tr', {}, make('td', {}, name), verdict, make('td', {}, each.words), cure);
    });
    const head = ['transition', '', 'memory', 'remedy'];
    this._answer.replaceChildren(
      make('p', { class: 'wb-soft wb-wrap' }, `${fit.head}. The dashed frame shows this amount.`),
      make(
        'table',
        { class: 'wb-data wb-fit' },
        make('thead', {}, make('tr', {}, ...head.map(text => make('th', { scope: 'col' }, text)))),
        make('tbody', {}, ...rows)
      )
    );
  }
}
