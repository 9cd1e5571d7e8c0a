/** Predict, then reveal: draw the curve that you expect; then the measured one is drawn over it. */

import type uPlot from 'uplot';

import { button, dataTable, make, tableButton } from '../../charts/elements';
import { Plot } from '../../charts/plot';
import { failedColour, faded, versionColour, type ITheme } from '../../charts/theme';
import { Link, type IModel } from '../../protocol/link';
import { Guess } from './guess_data';

interface IAbout {
  question: string;
  xs: number[];
  xLabel: string;
  yLabel: string;
  yRange: [number, number];
}

const HEIGHT = 240;

function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

export class GuessView {
  private readonly _about: IAbout;
  private readonly _guess: Guess;
  private readonly _plot: Plot;
  private readonly _link: Link;
  private readonly _said = make('p', { class: 'wb-message', role: 'status' });
  private readonly _twin = make('div', { class: 'wb-twin', hidden: '' });
  private readonly _reveal: HTMLButtonElement;
  // Which line is whose: in the colours of the chart.
  private readonly _keys = {
    guessed: make('span', { class: 'wb-key', 'data-line': 'dashed' }, 'your guess'),
    measured: make('span', { class: 'wb-key', 'data-line': 'full' }, 'measured')
  };
  private _truth: (number | null)[] | null = null;
  private _place = 0;

  constructor(node: HTMLElement, model: IModel) {
    this._about = model.get('about') as IAbout;
    const places = this._about.xs.map((_, i) => i);
    this._guess = new Guess(places);
    this._reveal = button('Reveal', 'Measure, and compare with your guess', () => this._ask());
    const again = button('Clear', 'Clear the curve', () => this._clear());
    const table = tableButton(this._twin, () => this._fillTwin());
    const chart = make('div', {
      class: 'wb-charts wb-guess',
      tabindex: '0',
      role: 'application',
      'aria-label':
        'Draw the curve that you expect. Left and right choose a point, up and down set its value.'
    });
    node.append(
      make(
        'div',
        { class: 'wb-head' },
        make('span', { class: 'wb-name' }, this._about.question),
        make('span', { class: 'wb-keys' }, this._keys.guessed, this._keys.measured)
      ),
      make(
        'div',
        { class: 'wb-section' },
        chart,
        make('div', { class: 'wb-controls', style: 'margin-top:8px' }, this._reveal, again, table),
        this._said,
        this._twin
      )
    );
    this._plot = new Plot(chart, {
      height: HEIGHT,
      label: this._about.yLabel,
      times: place => this._placeText(place),
      splits: places,
      values: short,
      range: () => this._range(),
      draw: (plot, context, theme) => this._draw(plot, context, theme),
      syncKey: `wb-guess-${Math.random()}`
    });
    this._plot.show(-0.3, places.length - 0.7);
    this._listen(chart);
    this._link = new Link(model, node);
    this._link.onNews = message => this._news(message);
    this._update();
  }

  dispose(): void {
    this._link.dispose();
    this._plot.dispose();
  }

  private _placeText(place: number): string {
    const value = this._about.xs[place];
    const last = place === this._about.xs.length - 1;
    return value === undefined ? '' : last ? `${short(value)} ${this._about.xLabel}` : short(value);
  }

  private _range(): [number, number] {
    const known = this._truth?.filter((value): value is number => value !== null) ?? [];
    const [low, high] = this._about.yRange;
    return [Math.min(low, ...known), Math.max(high, ...known.map(value => value * 1.1))];
  }

  private _listen(chart: HTMLElement): void {
    let last: { x: number; y: number } | null = null;
    const point = (event: PointerEvent) => this._plot.pointAt(event.clientX, event.clientY);
    chart.addEventListener('pointerdown', event => {
      if (this._truth === null) {
        chart.setPointerCapture(event.pointerId);
        last = point(event);
        this._guess.stroke(last, last);
        this._update();
      }
    });
    chart.addEventListener('pointermove', event => {
      if (last !== null) {
        const next = point(event);
        this._guess.stroke(last, next);
        last = next;
        this._update();
      }
    });
    for (const name of ['pointerup', 'pointercancel'] as const) {
      chart.addEventListener(name, () => {
        last = null;
      });
    }
    chart.addEventListener('keydown', event => {
      const [low, high] = this._about.yRange;
      const step = (high - low) / 40;
      const up = { ArrowUp: step, ArrowDown: -step }[event.key];
      const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (this._truth !== null || (up === undefined && along === undefined)) {
        return;
      }
      const most = this._guess.xs.length - 1;
      this._place = Math.min(most, Math.max(0, this._place + (along ?? 0)));
      const before = this._guess.values[this._place] ?? (low + high) / 2;
      this._guess.values[this._place] = Math.min(high, Math.max(low, before + (up ?? 0)));
      this._said.textContent = `${this._placeText(this._place)}: ${short(this._guess.values[this._place] ?? 0)}`;
      this._update(false);
      event.preventDefault();
      event.stopPropagation();
    });
  }

  private _update(say = true): void {
    const left = this._guess.values.filter(value => value === null).length;
    this._reveal.disabled = left > 0 || this._truth !== null;
    if (say && this._truth === null) {
      this._said.textContent =
        left > 0 ? `Draw the curve that you expect: ${left} points left.` : 'Press Reveal.';
    }
    this._plot.redraw();
  }

  private _clear(): void {
    this._guess.values.fill(null);
    this._truth = null;
    this._update();
  }

  private _ask(): void {
    this._reveal.disabled = true;
    this._said.textContent = 'Measuring …';
    void this._link.order('reveal', { guess: this._guess.values }).then(({ ok, text }) => {
      this._said.textContent = text;
      this._said.classList.toggle('wb-bad', !ok);
      this._reveal.disabled = ok;
    });
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'truth') {
      this._truth = message.values as (number | null)[];
      const drawn = message.guess as (number | null)[];
      drawn.forEach((value, i) => {
        this._guess.values[i] = value;
      });
      this._said.textContent = String(message.text);
      this._fillTwin();
      this._update();
      this._plot.show(-0.3, this._guess.xs.length - 0.7);
    } else if (message.kind === 'progress' && this._truth === null) {
      this._said.textContent = String(message.text);
    }
  }

  private _fillTwin(): void {
    const rows = this._about.xs.map((x, i) => [
      short(x),
      this._guess.values[i] === null ? '–' : short(this._guess.values[i] ?? 0),
      this._truth?.[i] === null || this._truth === null ? '–' : short(this._truth[i] ?? 0)
    ]);
    const head = [this._about.xLabel, 'guessed', 'measured'];
    this._twin.replaceChildren(dataTable(this._about.yLabel, head, rows));
  }

  private _draw(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const ratio = devicePixelRatio || 1;
    const mine = versionColour(1, theme.dark);
    const real = failedColour(theme.dark);
    this._keys.guessed.style.setProperty('--wb-key', mine);
    this._keys.measured.style.setProperty('--wb-key', real);
    this._keys.measured.hidden = this._truth === null;
    this._curve(plot, context, this._guess.values, faded(mine, 0.9), [6 * ratio, 4 * ratio]);
    if (this._truth !== null) {
      this._curve(plot, context, this._truth, real, []);
    }
  }

  private _curve(
    plot: uPlot,
    context: CanvasRenderingContext2D,
    values: readonly (number | null)[],
    colour: string,
    dash: number[]
  ): void {
    const ratio = devicePixelRatio || 1;
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 2 * ratio;
    context.setLineDash(dash);
    context.beginPath();
    let drawing = false;
    values.forEach((value, i) => {
      if (value === null) {
        drawing = false;
        return;
      }
      const [x, y] = [plot.valToPos(i, 'x', true), plot.valToPos(value, 'y', true)];
      context[drawing ? 'lineTo' : 'moveTo'](x, y);
      context.fillRect(x - 2 * ratio, y - 2 * ratio, 4 * ratio, 4 * ratio);
      drawing = true;
    });
    context.stroke();
    context.setLineDash([]);
  }
}
