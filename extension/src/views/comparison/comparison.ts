/** Two versions side by side: measures, latency, classes, a gallery of different answers, and controls
 * to serve one of them. */

import type uPlot from 'uplot';

import { button, dataTable, make, tableButton } from '../../charts/elements';
import { Plot } from '../../charts/plot';
import { oneTwoFives } from '../../charts/scales';
import { onThemeChange, themeOf, versionColour, type ITheme } from '../../charts/theme';
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
  private readonly _measures = make('div', { class: 'wb-scroll' });
  private readonly _slices = make('div', { class: 'wb-scroll' });
  private readonly _gallery = make('div', { class: 'wb-gallery' });
  private readonly _galleryTitle = make('span', { role: 'status' });
  private readonly _message = make('p', { class: 'wb-message', role: 'status' });
  private readonly _serving = make('p', { class: 'wb-soft wb-device' });
  private readonly _label = make('input', { type: 'text', value: 'stable', 'aria-label': 'label' });
  private readonly _acts: HTMLButtonElement[] = [];
  private readonly _undo: HTMLButtonElement;
  private readonly _previous: HTMLButtonElement;
  private readonly _next: HTMLButtonElement;
  private readonly _twin = make('div', { class: 'wb-twin', hidden: '' });
  private _page: IGallery;
  private _told: IServing | null = null;
  private _wall = 0;
  private _ended = '';
  private _busy = false;

  constructor(node: HTMLElement, model: IModel) {
    this._about = model.get('about') as IAbout;
    this._page = this._about.gallery;
    const [first, second] = this._about.versions;
    this._previous = button('‹', 'Previous page', () => this._turn(this._page.page - 1));
    this._next = button('›', 'Next page', () => this._turn(this._page.page + 1));
    this._undo = button(
      'Undo',
      'Restore the previous version policy',
      () => void this._do('undo', {}, 'Restoring the version policy')
    );
    for (const version of [first, second]) {
      this._acts.push(
        button(
          `Serve version ${version}`,
          `Serve only version ${version}`,
          () => void this._do('promote', { version }, `Switching to version ${version}`)
        )
      );
    }
    const labels = [first, second].map(version =>
      button(
        `Label ${version}`,
        `Point the label at version ${version}`,
        () => void this._do('label', { version, label: this._label.value }, 'Setting the label')
      )
    );
    this._acts.push(...labels);
    this._label.addEventListener('keydown', event => event.stopPropagation());
    const chart = make('div', { class: 'wb-latency' });
    const table = tableButton(this._twin, () => this._fillTwin());
    const said = this._about.sentences.map(text => make('li', {}, text));
    node.append(
      make(
        'div',
        { class: 'wb-head' },
        make('span', { class: 'wb-name' }, this._about.title),
        this._asOf.node
      ),
      make('div', { class: 'wb-section' }, make('ul', { class: 'wb-said' }, ...said)),
      make(
        'div',
        { class: 'wb-section wb-columns' },
        this._measures,
        make(
          'div',
          {},
          make('div', { class: 'wb-bar' }, make('span', { class: 'wb-summary' }, 'latency'), table),
          chart,
          this._twin
        )
      ),
      ...(this._about.slices === null ? [] : [make('div', { class: 'wb-section' }, this._slices)]),
      make(
        'div',
        { class: 'wb-section' },
        make('div', { class: 'wb-bar' }, this._galleryTitle, this._previous, this._next),
        this._gallery
      ),
      make(
        'div',
        { class: 'wb-section' },
        this._serving,
        make(
          'div',
          { class: 'wb-controls', style: 'margin-top:8px' },
          ...this._acts.slice(0, 2),
          this._undo,
          make('label', {}, 'label', this._label),
          ...labels
        ),
        this._message
      )
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
      draw: (plot, context, theme) => this._drawLatency(plot, context, theme),
      syncKey: `wb-comparison-${Math.random()}`
    });
    this._plot.show(Math.log10(low), Math.log10(high));
    this._plot.describe(this._latencyWords());
    this._drawTables();
    this._showGallery();
    this._endTheme = onThemeChange(() => {
      this._drawTables();
      this._showGallery();
    });
    this._link = new Link(model, node);
    this._link.onNews = message => this._news(message);
    this._link.onSilence = silent => this._tell(silent);
    this._tell(false);
  }

  dispose(): void {
    this._link.dispose();
    this._plot.dispose();
    this._endTheme();
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'ended') {
      this._ended = String(message.text);
    } else if (message.kind === 'serving') {
      this._ended = '';
      this._told = message as unknown as IServing;
      this._wall = Date.now() / 1e3;
    } else if (message.kind === 'gallery') {
      this._page = message as unknown as IGallery;
      this._drawTables();
      this._showGallery();
    }
    this._tell(false);
  }

  private _tell(silent: boolean): void {
    const end = this._ended || (silent ? this._link.silence : '');
    this._asOf.show(this._wall, end);
    const dead = end !== '' || this._busy || this._told === null;
    for (const control of [...this._acts, this._label]) {
      control.disabled = dead;
    }
    this._undo.disabled = dead || this._told?.undo !== true;
    this._serving.textContent = this._told === null ? '' : this._words(this._told);
    this._tellPager(silent);
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

  /** Measures and classes: each cell has a bar, relative to the larger of the two. */
  private _drawTables(): void {
    const { dark } = themeOf(this._measures);
    const { versions, measures, slices } = this._about;
    const colours = versions.map(version => versionColour(version, dark));
    const names = versions.map(version => `version ${version}`);
    const head = (texts: string[]) =>
      make('thead', {}, make('tr', {}, ...texts.map(text => make('th', { scope: 'col' }, text))));
    const rows = measures.map(({ name, values }) => {
      const most = Math.max(...values.map(value => value ?? 0), 1e-12);
      const isShare = name === 'accuracy';
      return make(
        'tr',
        {},
        make('td', { class: 'wb-wrap' }, name),
        ...values.map((value, i) =>
          this._cell(
            (value ?? 0) / (isShare ? 1 : most),
            colours[i],
            isShare ? percent(value ?? 0) : short(value)
          )
        )
      );
    });
    this._measures.replaceChildren(
      make('table', { class: 'wb-data' }, head(['', ...names]), make('tbody', {}, ...rows))
    );
    if (slices === null) {
      return;
    }
    const all = this._row('all', null, []);
    const each = slices.rows.map(({ name, values }, i) => {
      const [examples, same, ...right] = values;
      return this._row(name, i, [
        make('td', {}, String(examples)),
        this._cell(same, '#888888', percent(same)),
        ...right.map((share, k) => this._cell(share, colours[k], percent(share)))
      ]);
    });
    this._slices.replaceChildren(
      make(
        'table',
        { class: 'wb-data' },
        make('caption', {}, 'Select a class to see its examples.'),
        head([slices.kind, ...slices.columns]),
        make('tbody', {}, all, ...each)
      )
    );
  }

  private _cell(share: number, colour: string, text: string): HTMLElement {
    const fill = make('span');
    fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    fill.style.background = colour;
    return make('td', {}, make('span', { class: 'wb-membar' }, fill), text);
  }

  private _row(name: string, slice: number | null, cells: HTMLElement[]): HTMLElement {
    const chosen = this._page.slice === slice;
    const choose = button(
      name,
      `Show the examples of ${name}`,
      () => this._turn(0, slice),
      'wb-link'
    );
    choose.setAttribute('aria-pressed', String(chosen));
    return make('tr', chosen ? { class: 'wb-chosen' } : {}, make('td', {}, choose), ...cells);
  }

  private _turn(page: number, slice = this._page.slice): void {
    void this._link.order('gallery', { page, slice }).then(({ ok, text }) => {
      if (!ok) {
        this._say(text, false);
      }
    });
  }

  private _tellPager(silent: boolean): void {
    const { page, total } = this._page;
    this._previous.disabled = silent || page === 0;
    this._next.disabled = silent || (page + 1) * this._about.pageSize >= total;
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
    this._tellPager(false);
  }

  private _figure(item: IItem, dark: boolean): HTMLElement {
    const words = item.said.map((said, i) => {
      const version = this._about.versions[i];
      const mark = item.right === null ? '' : item.right[i] ? ' ✓' : ' ✗';
      const dot = make('span', { class: 'wb-dot' });
      dot.style.background = versionColour(version, dark);
      return make('div', {}, dot, `${version}: ${said}${mark}`);
    });
    const label =
      item.label === null ? [] : [make('div', { class: 'wb-soft' }, `is ${item.label}`)];
    const picture =
      item.png === undefined
        ? make('div', { class: 'wb-input' }, item.input ?? '')
        : make('img', { src: `data:image/png;base64,${item.png}`, alt: `example ${item.example}` });
    return make(
      'figure',
      { title: `example ${item.example}` },
      picture,
      make('figcaption', {}, ...words, ...label)
    );
  }

  private _drawLatency(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const ratio = devicePixelRatio || 1;
    this._about.latency.forEach((times, i) => {
      context.strokeStyle = versionColour(this._about.versions[i], theme.dark);
      context.lineWidth = 2 * ratio;
      context.setLineDash(i === 0 ? [] : [6 * ratio, 4 * ratio]);
      context.beginPath();
      times.forEach((millis, step) => {
        const x = plot.valToPos(Math.log10(millis), 'x', true);
        context.lineTo(x, plot.valToPos(step / (times.length - 1), 'y', true));
      });
      context.stroke();
    });
    context.setLineDash([]);
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textAlign = 'right';
    context.textBaseline = 'alphabetic';
    const right = plot.bbox.left + plot.bbox.width - 8 * ratio;
    const bottom = plot.bbox.top + plot.bbox.height - 8 * ratio;
    this._about.versions.forEach((version, i) => {
      const text = `version ${version}${i === 0 ? '' : ', dashed'}`;
      context.fillStyle = versionColour(version, theme.dark);
      context.fillText(text, right, bottom - (1 - i) * 15 * ratio);
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

  private _fillTwin(): void {
    const rows = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99].map(share => [
      `${Math.round(share * 100)} %`,
      ...this._about.versions.map((_, i) => `${short(this._quantile(i, share))} ms`)
    ]);
    const head = ['answered within', ...this._about.versions.map(version => `version ${version}`)];
    this._twin.replaceChildren(dataTable('Latency of requests with one example each', head, rows));
  }

  private async _do(op: string, values: Record<string, unknown>, doing: string): Promise<void> {
    this._busy = true;
    this._say(`${doing} …`, true);
    this._tell(false);
    const { ok, text } = await this._link.order(op, values);
    this._busy = false;
    this._say(text, ok);
    this._tell(false);
  }

  private _say(text: string, ok: boolean): void {
    this._message.textContent = text;
    this._message.classList.toggle('wb-bad', !ok);
  }
}
