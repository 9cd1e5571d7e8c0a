/** Predict, then reveal: draw the curve that you expect; then the measured one is drawn over it. */

import { button, dataTable, make, StatusLine, Twin } from '../../charts/elements';
import { onRelease } from '../../charts/navigation';
import type { Pen } from '../../charts/pen';
import { Plot } from '../../charts/plot';
import { failedColour, faded, versionColour } from '../../charts/theme';
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
  private readonly _message = new StatusLine();
  private readonly _twin = new Twin(() => this._valuesTable());
  private readonly _reveal = button('Reveal', 'Measure, and compare with your guess', () =>
    this._ask()
  );
  // The legend, in the colours of the chart.
  private readonly _keys = {
    guessed: make('span.wb-key', { 'data-line': 'dashed' }, 'your guess'),
    measured: make('span.wb-key', { 'data-line': 'full' }, 'measured')
  };
  private _truth: (number | null)[] | null = null;
  private _place = 0;

  constructor(node: HTMLElement, model: IModel) {
    this._about = model.get('about') as IAbout;
    const places = this._about.xs.map((_, i) => i);
    this._guess = new Guess(places);
    const again = button('Clear', 'Clear the curve', () => this._clear());
    const chart = make('div.wb-charts.wb-guess', {
      tabindex: '0',
      role: 'application',
      'aria-label':
        'Draw the curve that you expect. Left and right choose a point, up and down set its value.'
    });
    node.append(
      make('div.wb-head', [
        make('span.wb-name', this._about.question),
        make('span.wb-keys', [this._keys.guessed, this._keys.measured])
      ]),
      make('div.wb-section', [
        chart,
        make('div.wb-controls', { style: 'margin-top:8px' }, [
          this._reveal,
          again,
          this._twin.button
        ]),
        this._message.node,
        this._twin.node
      ])
    );
    this._plot = new Plot(chart, {
      height: HEIGHT,
      label: this._about.yLabel,
      times: place => this._placeText(place),
      splits: places,
      values: short,
      range: () => this._range(),
      draw: pen => this._draw(pen),
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
    chart.addEventListener('pointerdown', event => {
      if (this._truth === null) {
        chart.setPointerCapture(event.pointerId);
        last = this._plot.pointAt(event);
        this._guess.stroke(last, last);
        this._update();
      }
    });
    chart.addEventListener('pointermove', event => {
      if (last !== null) {
        const next = this._plot.pointAt(event);
        this._guess.stroke(last, next);
        last = next;
        this._update();
      }
    });
    onRelease(chart, () => {
      last = null;
    });
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
      const value = Math.min(high, Math.max(low, before + (up ?? 0)));
      this._guess.values[this._place] = value;
      this._message.say(`${this._placeText(this._place)}: ${short(value)}`);
      this._update(false);
      event.preventDefault();
      event.stopPropagation();
    });
  }

  private _update(say = true): void {
    const left = this._guess.values.filter(value => value === null).length;
    this._reveal.disabled = left > 0 || this._truth !== null;
    if (say && this._truth === null) {
      this._message.say(
        left > 0 ? `Draw the curve that you expect: ${left} points left.` : 'Press Reveal.'
      );
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
    const order = this._link.order('reveal', { guess: this._guess.values });
    void this._message.follow('Measuring …', order).then(ok => {
      this._reveal.disabled = ok;
    });
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'truth') {
      this._truth = message.values as (number | null)[];
      this._guess.values = message.guess as (number | null)[];
      this._message.say(String(message.text));
      this._twin.fill();
      this._update();
      this._plot.show(-0.3, this._guess.xs.length - 0.7);
    } else if (message.kind === 'progress' && this._truth === null) {
      this._message.say(String(message.text));
    }
  }

  private _valuesTable(): HTMLTableElement {
    const figure = (value: number | null | undefined) =>
      value === null || value === undefined ? '–' : short(value);
    const rows = this._about.xs.map((x, i) => [
      short(x),
      figure(this._guess.values[i]),
      figure(this._truth?.[i])
    ]);
    return dataTable(this._about.yLabel, [this._about.xLabel, 'guessed', 'measured'], rows);
  }

  private _draw(pen: Pen): void {
    const mine = versionColour(1, pen.theme.dark);
    const real = failedColour(pen.theme.dark);
    this._keys.guessed.style.setProperty('--wb-key', mine);
    this._keys.measured.style.setProperty('--wb-key', real);
    this._keys.measured.hidden = this._truth === null;
    this._curve(pen, this._guess.values, faded(mine, 0.9), [6, 4]);
    this._curve(pen, this._truth ?? [], real, []);
  }

  private _curve(
    pen: Pen,
    values: readonly (number | null)[],
    colour: string,
    dash: number[]
  ): void {
    pen.stroke(colour, 2, dash);
    pen.line(values.map((value, i) => [i, value]));
    pen.context.fillStyle = colour;
    values.forEach((value, i) => {
      if (value !== null) {
        pen.square(pen.x(i), pen.y(value), 4);
      }
    });
  }
}
