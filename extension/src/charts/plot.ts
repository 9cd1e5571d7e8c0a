/** One plot of a column of plots that share their time axis: uPlot, with the page's colours. */

import uPlot from 'uplot';

import { make } from './elements';
import { Pen, pixelRatio } from './pen';
import { onThemeChange, themeOf } from './theme';

export interface IPlotOptions {
  height: number;
  label: string;
  /** Values of the vertical axis in words. */
  values?: (value: number) => string;
  logarithmic?: boolean;
  /** Labelled values of the vertical axis; by default round ones. */
  marks?: () => number[];
  /** The unit of round values on the vertical axis, such as 2^20 for MB. */
  step?: number;
  /** Labels of the time axis; without it, none is drawn. */
  times?: (seconds: number) => string;
  /** Labelled places of the time axis; by default at round times. */
  splits?: number[];
  /** Draws the data. */
  draw: (pen: Pen) => void;
  onCursor?: (time: number | null) => void;
  /** The range of the vertical axis for the visible time. */
  range: () => [number, number];
  axis?: boolean;
  syncKey: string;
}

/** uPlot draws the axes only; `IPlotOptions.draw` draws the data. */
const noData = (start: number, end: number): uPlot.AlignedData => [
  [start, end],
  [null, null]
];

const AXIS_WIDTH = 64;
const FONT = '11px system-ui, sans-serif';

/** Round values in a range: a few, at multiples of 1, 2 or 5 of `unit`'s powers of ten. */
function rounds([low, high]: [number, number], unit: number): number[] {
  const [least, most] = [Math.min(low, high) / unit, Math.max(low, high) / unit];
  const rough = Math.max((most - least) / 3, 1e-9);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= rough) ?? 10 * power;
  const found: number[] = [];
  for (let i = Math.ceil(least / step); i * step <= most; i += 1) {
    found.push(i * step * unit);
  }
  return found;
}

/** The powers of ten in a range. */
function decades([low, high]: [number, number]): number[] {
  const found: number[] = [];
  for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power += 1) {
    found.push(10 ** power);
  }
  return found;
}

/** Pixels right of the plot, and the width of a letter of a label. */
const RIGHT = 10;
const LETTER = 6.6;

export class Plot {
  readonly node: HTMLElement;
  private readonly _plot: uPlot;
  private readonly _ends: (() => void)[];

  constructor(
    host: HTMLElement,
    private readonly _options: IPlotOptions
  ) {
    this.node = make('div.wb-plot', { role: 'img', 'aria-label': _options.label });
    host.append(this.node);
    const ink = () => themeOf(this.node).soft;
    const grid = () => themeOf(this.node).grid;
    this._plot = new uPlot(
      {
        width: Math.max(240, host.clientWidth || 640),
        height: _options.height,
        legend: { show: false },
        // Room for the lower half of the lowest label.
        padding: [6, RIGHT, _options.times === undefined ? 8 : 0, 0],
        cursor: {
          drag: { x: false, y: false },
          points: { show: false },
          y: false,
          sync: { key: _options.syncKey }
        },
        scales: {
          x: { time: false, auto: false },
          y: {
            auto: false,
            distr: _options.logarithmic ? 3 : 1,
            range: () => _options.range()
          }
        },
        axes: [
          {
            show: _options.times !== undefined,
            stroke: ink,
            grid: { stroke: grid, width: 1 },
            ticks: { stroke: grid, width: 1 },
            font: FONT,
            space: 80,
            size: 26,
            splits: _options.splits,
            values: (plot, splits) => {
              // A label that the edge would cut is left out.
              const room = plot.bbox.width / pixelRatio() + RIGHT;
              return splits.map(split => {
                const text = _options.times?.(split) ?? '';
                const end = plot.valToPos(split, 'x') + (text.length * LETTER) / 2;
                return end > room ? '' : text;
              });
            }
          },
          {
            stroke: ink,
            grid: { stroke: grid, width: 1, show: _options.axis !== false },
            ticks: { show: false },
            font: FONT,
            size: AXIS_WIDTH,
            space: 24,
            splits: () =>
              _options.marks?.() ??
              (_options.logarithmic
                ? decades(_options.range())
                : rounds(_options.range(), _options.step ?? 1)),
            label: _options.label,
            labelSize: 18,
            labelFont: FONT,
            values: (_, splits) =>
              splits.map(split =>
                split === null ? '' : (_options.values?.(split) ?? String(split))
              )
          }
        ],
        series: [{}, { show: true, stroke: 'transparent', points: { show: false } }],
        hooks: {
          draw: [
            plot => {
              const { left, top, width, height } = plot.bbox;
              plot.ctx.save();
              plot.ctx.beginPath();
              plot.ctx.rect(left, top, width, height);
              plot.ctx.clip();
              _options.draw(new Pen(plot, themeOf(this.node)));
              plot.ctx.restore();
            }
          ],
          setCursor: [
            plot => {
              const left = plot.cursor.left ?? -1;
              _options.onCursor?.(left < 0 ? null : plot.posToVal(left, 'x'));
            }
          ]
        }
      },
      noData(0, 1),
      this.node
    );
    const observer = new ResizeObserver(entries => {
      const width = Math.floor(entries[0].contentRect.width);
      if (width > 0 && width !== this._plot.width) {
        this._plot.setSize({ width, height: _options.height });
      }
    });
    observer.observe(host);
    this._ends = [() => observer.disconnect(), onThemeChange(() => this._plot.redraw(false, true))];
  }

  /** Show the times from `start` to `end`. */
  show(start: number, end: number): void {
    this._plot.batch(() => {
      this._plot.setData(noData(start, end), false);
      this._plot.setScale('x', { min: start, max: end });
      const [min, max] = this._options.range();
      this._plot.setScale('y', { min, max });
    });
  }

  describe(text: string): void {
    this.node.setAttribute('aria-label', text);
  }

  /** The values below the pointer. */
  pointAt({ clientX, clientY }: MouseEvent): { x: number; y: number } {
    const { left, top } = this._plot.over.getBoundingClientRect();
    return {
      x: this._plot.posToVal(clientX - left, 'x'),
      y: this._plot.posToVal(clientY - top, 'y')
    };
  }

  redraw(): void {
    this._plot.redraw(false, false);
  }

  get plotWidth(): number {
    return this._plot.over.clientWidth;
  }

  dispose(): void {
    this._ends.forEach(end => end());
    this._plot.destroy();
    this.node.remove();
  }
}
