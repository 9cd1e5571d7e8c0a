/** Two versions side by side: measures, latency, classes, a gallery of different answers, and controls
 * to serve one of them. */

import { oneTwoFives } from '../../charts/axes';
import { button, dataTable, make, StatusLine, tableHead, Twin } from '../../charts/elements';
import type { Pen } from '../../charts/pen';
import { Plot } from '../../charts/plot';
import { onThemeChange, themeOf, versionColour } from '../../charts/theme';
import { Link, type IModel } from '../../protocol/link';
import type { Version } from '../../protocol/version';
import { AsOf } from '../as_of';

interface IItem {
  example: number;
  said: string[];
  label: string | null;
  right: boolean[] | null;
  difference: number | null;
  png?: string;
  input?: string;
}

interface IGallery {
  page: number;
  slice: number | null;
  total: number;
  items: IItem[];
}

interface IAbout {
  title: string;
  server: string | null;
  versions: [Version, Version];
  sentences: string[];
  measures: { name: string; values: (number | null)[] }[];
  /** Milliseconds of each version, at equal steps from none to all of its requests. */
  latency: [number[], number[]];
  slices: { kind: string; columns: string[]; rows: { name: string; values: number[] }[] } | null;
  gallery: IGallery;
  pageSize: number;
}

interface IServing {
  available: Version[];
  labels: Record<string, Version>;
  policy: Record<string, unknown>;
  undo: boolean;
}

const PLOT_HEIGHT = 170;

function short(value: number | null): string {
  if (value === null) {
    return '–';
  }
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

export class ComparisonView {
  private readonly _about: IAbout;
  private readonly _link: Link;
  private readonly _plot: Plot;
  private readonly _endTheme: () => void;
  private readonly _asOf = new AsOf();
  private readonly _measures = make('div.wb-scroll');
  private readonly _slices = make('div.wb-scroll');
  private readonly _gallery = make('div.wb-gallery');
  private readonly _galleryTitle = make('span', { role: 'status' });
  private readonly _message = new StatusLine();
  private readonly _serving = make('p.wb-soft.wb-device');
  private readonly _label = make('input', { type: 'text', value: 'stable', 'aria-label': 'label' });
  private readonly _serve: HTMLButtonElement[];
  private readonly _point: HTMLButtonElement[];
  private readonly _undo = button(
    'Undo',
    'Restore the previous version policy',
    () => void this._do('undo', {}, 'Restoring the version policy')
  );
  private readonly _previous = button('‹', 'Previous page', () => this._turn(this._page.page - 1));
  private readonly _next = button('›', 'Next page', () => this._turn(this._page.page + 1));
  private readonly _twin = new Twin(() => this._latencyTable());
  private _page: IGallery;
  private _told: IServing | null = null;
  private _busy = false;

  constructor(node: HTMLElement, model: IModel) {
    this._about = model.get('about') as IAbout;
    this._page = this._about.gallery;
    this._serve = this._about.versions.map(version =>
      button(
        `Serve version ${version}`,
        `Serve only version ${version}`,
        () => void this._do('promote', { version }, `Switching to version ${version}`)
      )
    );
    this._point = this._about.versions.map(version =>
      button(
        `Label ${version}`,
        `Point the label at version ${version}`,
        () => void this._do('label', { version, label: this._label.value }, 'Setting the label')
      )
    );
    this._label.addEventListener('keydown', event => event.stopPropagation());
    const chart = make('div.wb-latency');
    const said = this._about.sentences.map(text => make('li', text));
    node.append(
      make('div.wb-head', [make('span.wb-name', this._about.title), this._asOf.node]),
      make('div.wb-section', [make('ul.wb-said', said)]),
      make('div.wb-section.wb-columns', [
        this._measures,
        make('div', [
          make('div.wb-bar', [make('span.wb-summary', 'latency'), this._twin.button]),
          chart,
          this._twin.node
        ])
      ]),
      ...(this._about.slices === null ? [] : [make('div.wb-section', this._slices)]),
      make('div.wb-section', [
        make('div.wb-bar', [this._galleryTitle, this._previous, this._next]),
        this._gallery
      ]),
      make('div.wb-section', [
        this._serving,
        make('div.wb-controls', { style: 'margin-top:8px' }, [
          ...this._serve,
          this._undo,
          make('label', ['label', this._label]),
          ...this._point
        ]),
        this._message.node
      ])
    );
    const times = this._about.latency.flatMap(each => [each[1], each[each.length - 2]]);
    const [low, high] = [Math.min(...times) * 0.9, Math.max(...times) * 1.1];
    this._plot = new Plot(chart, {
      height: PLOT_HEIGHT,
      label: 'answered within',
      splits: oneTwoFives(low, high).map(Math.log10),
      times: place => `${short(10 ** place)} ms`,
      values: value => `${Math.round(value * 100)} %`,
      range: () => [0, 1.02],
      draw: pen => this._drawLatency(pen),
      syncKey: `wb-comparison-${Math.random()}`
    });
    this._plot.show(Math.log10(low), Math.log10(high));
    this._plot.describe(this._latencyWords());
    this._draw();
    this._endTheme = onThemeChange(() => this._draw());
    this._link = new Link(model, node);
    this._asOf.follow(
      this._link,
      'serving',
      message => this._news(message),
      () => this._tell()
    );
    this._tell();
  }

  dispose(): void {
    this._link.dispose();
    this._plot.dispose();
    this._endTheme();
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'serving') {
      this._told = message as unknown as IServing;
      this._asOf.wall = Date.now() / 1e3;
    } else if (message.kind === 'gallery') {
      this._page = message as unknown as IGallery;
      this._draw();
    }
  }

  private _tell(): void {
    const dead = this._asOf.end !== '' || this._busy || this._told === null;
    for (const control of [...this._serve, ...this._point, this._label]) {
      control.disabled = dead;
    }
    this._undo.disabled = dead || this._told?.undo !== true;
    this._serving.textContent = this._told === null ? '' : this._words(this._told);
    const { page, total } = this._page;
    this._previous.disabled = this._asOf.silent || page === 0;
    this._next.disabled = this._asOf.silent || (page + 1) * this._about.pageSize >= total;
  }

  private _words(told: IServing): string {
    const serving = told.available.length === 0 ? 'no version' : told.available.join(', ');
    const labels = Object.entries(told.labels).map(([name, version]) => `${name} → ${version}`);
    const policy = Object.entries(told.policy).map(([name, value]) =>
      value === true ? name : `${name} ${String(value)}`
    );
    return [
      `serving: ${serving}`,
      `version policy: ${policy.join(', ')}`,
      `labels: ${labels.length === 0 ? 'none' : labels.join(', ')}`
    ].join(' · ');
  }

  private _draw(): void {
    this._drawTables();
    this._showGallery();
  }

  /** Measures and classes: each cell has a bar, relative to the larger of the two. */
  private _drawTables(): void {
    const { dark } = themeOf(this._measures);
    const { versions, measures, slices } = this._about;
    const colours = versions.map(version => versionColour(version, dark));
    const names = versions.map(version => `version ${version}`);
    const rows = measures.map(({ name, values }) => {
      const isShare = name === 'accuracy';
      const most = isShare ? 1 : Math.max(...values.map(value => value ?? 0), 1e-12);
      const cells = values.map((value, i) => {
        const text = isShare ? percent(value ?? 0) : short(value);
        return this._cell((value ?? 0) / most, colours[i], text);
      });
      return make('tr', [make('td.wb-wrap', name), ...cells]);
    });
    this._measures.replaceChildren(
      make('table.wb-data', [tableHead(['', ...names]), make('tbody', rows)])
    );
    if (slices === null) {
      return;
    }
    const all = this._row('all', null, []);
    const each = slices.rows.map(({ name, values }, i) => {
      const [examples, same, ...right] = values;
      return this._row(name, i, [
        make('td', [String(examples)]),
        this._cell(same, '#888888', percent(same)),
        ...right.map((share, k) => this._cell(share, colours[k], percent(share)))
      ]);
    });
    this._slices.replaceChildren(
      make('table.wb-data', [
        make('caption', 'Select a class to see its examples.'),
        tableHead([slices.kind, ...slices.columns]),
        make('tbody', [all, ...each])
      ])
    );
  }

  private _cell(share: number, colour: string, text: string): HTMLElement {
    const width = 100 * Math.min(1, Math.max(0, share));
    const fill = make('span', { style: `width: ${width}%; background: ${colour}` });
    return make('td', [make('span.wb-membar', fill), text]);
  }

  private _row(name: string, slice: number | null, cells: HTMLElement[]): HTMLElement {
    const chosen = this._page.slice === slice;
    const title = `Show the examples of ${name}`;
    const choose = button(name, title, () => this._turn(0, slice), 'wb-link');
    choose.setAttribute('aria-pressed', String(chosen));
    return make('tr', chosen ? { class: 'wb-chosen' } : {}, [make('td', choose), ...cells]);
  }

  private _turn(page: number, slice = this._page.slice): void {
    void this._link.order('gallery', { page, slice }).then(({ ok, text }) => {
      if (!ok) {
        this._message.say(text, false);
      }
    });
  }

  private _showGallery(): void {
    const { dark } = themeOf(this._gallery);
    const { page, total, items, slice } = this._page;
    const from = page * this._about.pageSize;
    const name = slice === null ? '' : ` for ${this._about.slices?.rows[slice].name ?? ''}`;
    this._galleryTitle.textContent =
      total === 0
        ? `No different answers${name}.`
        : `Different answers${name}, largest difference first: ` +
          `${from + 1} to ${from + items.length} of ${total}`;
    this._gallery.replaceChildren(...items.map(item => this._figure(item, dark)));
  }

  private _figure(item: IItem, dark: boolean): HTMLElement {
    const words = item.said.map((said, i) => {
      const version = this._about.versions[i];
      const mark = item.right === null ? '' : item.right[i] ? ' ✓' : ' ✗';
      const style = `background: ${versionColour(version, dark)}`;
      const dot = make('span.wb-dot', { style });
      return make('div', [dot, `${version}: ${said}${mark}`]);
    });
    const label = item.label === null ? [] : [make('div.wb-soft', `is ${item.label}`)];
    const picture =
      item.png === undefined
        ? make('div.wb-input', item.input ?? '')
        : make('img', { src: `data:image/png;base64,${item.png}`, alt: `example ${item.example}` });
    return make('figure', { title: `example ${item.example}` }, [
      picture,
      make('figcaption', [...words, ...label])
    ]);
  }

  private _drawLatency(pen: Pen): void {
    const { context, ratio, right, bottom } = pen;
    pen.write('right', 'alphabetic');
    this._about.latency.forEach((times, i) => {
      const version = this._about.versions[i];
      const colour = versionColour(version, pen.theme.dark);
      pen.stroke(colour, 2, i === 0 ? [] : [6, 4]);
      pen.line(times.map((millis, step) => [Math.log10(millis), step / (times.length - 1)]));
      const text = `version ${version}${i === 0 ? '' : ', dashed'}`;
      context.fillStyle = colour;
      context.fillText(text, right - 8 * ratio, bottom - (8 + (1 - i) * 15) * ratio);
    });
  }

  private _quantile(i: number, share: number): number {
    const times = this._about.latency[i];
    return times[Math.round(share * (times.length - 1))];
  }

  private _latencyWords(): string {
    const words = this._about.versions.map(
      (version, i) =>
        `version ${version}: p50 ${short(this._quantile(i, 0.5))} ms, ` +
        `p99 ${short(this._quantile(i, 0.99))} ms`
    );
    return `Latency. ${words.join('; ')}`;
  }

  private _latencyTable(): HTMLTableElement {
    const rows = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99].map(share => [
      `${Math.round(share * 100)} %`,
      ...this._about.versions.map((_, i) => `${short(this._quantile(i, share))} ms`)
    ]);
    const head = ['answered within', ...this._about.versions.map(version => `version ${version}`)];
    return dataTable('Latency of requests with one example each', head, rows);
  }

  private async _do(op: string, values: Record<string, unknown>, doing: string): Promise<void> {
    this._busy = true;
    this._tell();
    await this._message.follow(`${doing} …`, this._link.order(op, values));
    this._busy = false;
    this._tell();
  }
}
