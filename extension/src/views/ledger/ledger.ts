/** The memory ledger as a widget: bars, legend, table, and *Will it fit?* */

import { button, dataTable, make, StatusLine, tableHead, Twin } from '../../charts/elements';
import type { IDevice, IPart } from '../../protocol/generated';
import { Link, type IModel } from '../../protocol/link';
import { AsOf } from '../as_of';
import { amount, DeviceList } from './device_list';

interface IFit {
  head: string;
  peak: Record<string, number>;
  transition: string;
  transitions: { name: string; fits: boolean; words: string; cure: string }[];
}

export class LedgerView {
  private readonly _link: Link;
  private readonly _asOf = new AsOf();
  private readonly _devices = new DeviceList(part => {
    this._selected = part;
    this._say();
  });
  private readonly _said = make('p.wb-summary', { role: 'status' });
  private readonly _notes = make('p.wb-soft', { hidden: '' });
  private readonly _twin = new Twin(() => this._partsTable());
  private readonly _answer = make('div.wb-scroll');
  private readonly _message = new StatusLine();
  private readonly _path = make('input', {
    type: 'text',
    placeholder: 'folder of a SavedModel',
    'aria-label': 'folder of a SavedModel'
  });
  private readonly _ask = button(
    'Will it fit?',
    'Check without loading anything',
    () => void this._askFit()
  );
  private _told: IDevice[] = [];
  private _fit: IFit | null = null;
  private _selected: IPart | null = null;
  private _asking = false;

  constructor(node: HTMLElement, model: IModel) {
    const about = model.get('about') as { name: string; model: string };
    this._path.addEventListener('keydown', event => {
      // Keep typed keys from the shortcuts of the notebook.
      event.stopPropagation();
      if (event.key === 'Enter') {
        void this._askFit();
      }
    });
    node.append(
      make('div.wb-head', [
        make('span.wb-name', 'Memory'),
        make('span.wb-soft', about.name),
        this._asOf.node
      ]),
      make('div.wb-section', [
        make('div.wb-bar', [this._said, this._twin.button]),
        this._devices.node,
        this._notes,
        this._twin.node
      ]),
      make('div.wb-section', [
        make('div.wb-controls', [
          make('label', [`as the next version of ${about.model}`, this._path]),
          this._ask
        ]),
        this._message.node,
        this._answer
      ])
    );
    this._link = new Link(model, node);
    this._asOf.follow(
      this._link,
      'ledger',
      message => this._news(message),
      () => this._tell()
    );
  }

  dispose(): void {
    this._link.dispose();
    this._devices.dispose();
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'ledger') {
      this._asOf.wall = message.wall as number;
      const notes = message.notes as string[];
      this._notes.hidden = notes.length === 0;
      this._notes.textContent = notes.join('\n');
    }
    if (message.kind === 'ledger' || message.kind === 'fit') {
      this._told = message.devices as IDevice[];
      if (message.fit !== undefined) {
        this._showFit(message.fit as IFit);
      }
      this._draw();
    }
  }

  private _tell(): void {
    this._ask.disabled = this._path.disabled = this._asOf.end !== '' || this._asking;
  }

  private _draw(): void {
    this._devices.show(this._told, this._fit?.peak);
    this._twin.fill();
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

  private _partsTable(): HTMLTableElement {
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
    return dataTable('Memory by owner', head, rows);
  }

  private async _askFit(): Promise<void> {
    if (this._ask.disabled) {
      return;
    }
    this._asking = this._ask.disabled = true;
    this._message.say('Reading the files …');
    const { ok, text } = await this._link.order('fit', { path: this._path.value });
    this._asking = false;
    this._message.say(text, ok);
    if (!ok) {
      this._fit = null;
      this._answer.replaceChildren();
      this._draw();
    }
    this._tell();
  }

  private _showFit(fit: IFit): void {
    this._fit = fit;
    const now = fit.transition.split('+')[0];
    const rows = fit.transitions.map(({ name, fits, words, cure }) =>
      make('tr', [
        make('td', name === now ? `${name} (current)` : name),
        fits ? make('td', '✓ fits') : make('td.wb-bad', '✗ does not fit'),
        make('td', words),
        make('td.wb-wrap', cure || '–')
      ])
    );
    this._answer.replaceChildren(
      make('p.wb-soft.wb-wrap', `${fit.head}. The dashed frame shows this amount.`),
      make('table.wb-data.wb-fit', [
        tableHead(['transition', '', 'memory', 'remedy']),
        make('tbody', rows)
      ])
    );
  }
}
