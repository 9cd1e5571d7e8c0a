/** The charts of a sweep explorer: latency and throughput along one slider's values. Lines are
 * simulated, dots with bars are measured. */

import type uPlot from 'uplot';

import { Plot, type IPlotOptions } from '../../charts/plot';
import { countText, durationText } from '../../charts/text';
import { faded, type ITheme } from '../../charts/theme';
import { STABLE } from '../../protocol/generated';
import { spread, valueText, type Figure, type IPoint, type SweepData } from './sweep_data';

interface ILook {
  light: string;
  dark: string;
  dash: number[];
}

/** Okabe and Ito's colours; dashes and names distinguish the lines as well. */
const LOOKS: Record<Figure, ILook> = {
  p50: { light: '#0072b2', dark: '#56b4e9', dash: [1.5, 3] },
  p90: { light: '#00795a', dark: '#2bd4a4', dash: [6, 4] },
  p99: { light: '#c44f00', dark: '#ff9f43', dash: [] },
  achieved: { light: '#0072b2', dark: '#56b4e9', dash: [] }
};

const LEVELS = ['p50', 'p90', 'p99'] as const;
const MEASURED = ['p50', 'p99'] as const;
/** Room for the lines' names at the right end, in steps of the scale. */
const LEFT_ROOM = 0.4;
const NAME_SHARE = 0.055;

let made = 0;

export class SweepChart {
  private readonly _plots: Plot[];
  private readonly _splits: number[] = [];

  constructor(
    host: HTMLElement,
    private readonly _data: SweepData
  ) {
    const base = { syncKey: `wb-sweep-${(made += 1)}` };
    const options: IPlotOptions[] = [
      {
        ...base,
        height: 190,
        label: 'latency',
        logarithmic: true,
        values: durationText,
        range: () => this._data.latencyRange(),
        draw: (plot, context, theme) => this._drawLatency(plot, context, theme)
      },
      {
        ...base,
        height: 130,
        label: 'answered/s',
        values: countText,
        times: place => this._placeText(place),
        splits: this._splits,
        range: () => [0, this._data.mostThroughput()],
        draw: (plot, context, theme) => this._drawThroughput(plot, context, theme)
      }
    ];
    this._plots = options.map(option => new Plot(host, option));
    this.update();
  }

  /** The data has changed. */
  update(): void {
    const steps = this._data.scales[this._data.axis].length - 1;
    this._splits.splice(0, this._splits.length, ...this._data.splits());
    for (const plot of this._plots) {
      plot.show(-LEFT_ROOM, steps + LEFT_ROOM + NAME_SHARE * steps);
      plot.describe(
        `${plot === this._plots[0] ? 'latency' : 'throughput'}. ${this._data.summary()}`
      );
    }
  }

  dispose(): void {
    for (const plot of this._plots) {
      plot.dispose();
    }
  }

  private _placeText(place: number): string {
    const value = this._data.scales[this._data.axis][place];
    return value === undefined ? '' : valueText(this._data.axis, value);
  }

  private _place(point: IPoint): number {
    return this._data.place(this._data.axis, point.setting[this._data.axis]);
  }

  private _drawLatency(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    this._drawSlider(plot, context, theme);
    for (const name of LEVELS) {
      this._drawLine(plot, context, theme, name);
    }
    this._drawMeasured(plot, context, theme, MEASURED);
    this._drawNames(plot, context, theme);
  }

  private _drawThroughput(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    this._drawSlider(plot, context, theme);
    // What was offered, as a ceiling: less than that is rejected or left behind.
    this._stroke(
      plot,
      context,
      this._curve().map(point => [this._place(point), point.setting.rate]),
      faded(theme.dark ? '#a0a0a0' : '#656d76', 0.9),
      [3, 3],
      1
    );
    this._drawLine(plot, context, theme, 'achieved');
    this._drawMeasured(plot, context, theme, ['achieved']);
  }

  /** The curve, unless it is of another axis, and the new one is still simulated. */
  private _curve(): IPoint[] {
    return this._data.curveAxis === this._data.axis ? this._data.curve : [];
  }

  /** Where the slider is. */
  private _drawSlider(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const { axis, setting } = this._data;
    const x = plot.valToPos(this._data.place(axis, setting[axis]), 'x', true);
    context.strokeStyle = theme.soft;
    context.lineWidth = devicePixelRatio || 1;
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(x, plot.bbox.top);
    context.lineTo(x, plot.bbox.top + plot.bbox.height);
    context.stroke();
  }

  private _drawLine(
    plot: uPlot,
    context: CanvasRenderingContext2D,
    theme: ITheme,
    name: Figure
  ): void {
    const look = LOOKS[name];
    const colour = theme.dark ? look.dark : look.light;
    const line = this._curve().map(
      point => [this._place(point), point[name]?.[1] ?? null] as const
    );
    this._stroke(plot, context, line, colour, look.dash, 2);
    const ratio = devicePixelRatio || 1;
    const here = this._data.here?.[name];
    if (here && this._curve().length > 0) {
      const x = plot.valToPos(
        this._data.place(this._data.axis, this._data.setting[this._data.axis]),
        'x',
        true
      );
      context.fillStyle = colour;
      const size = 5 * ratio;
      context.fillRect(x - size / 2, plot.valToPos(here[1], 'y', true) - size / 2, size, size);
    }
  }

  /** The lines' names at their right ends. */
  private _drawNames(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const ratio = devicePixelRatio || 1;
    const last = [...this._curve()].reverse().find(point => point.p99 !== null);
    if (last === undefined) {
      return;
    }
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textBaseline = 'middle';
    context.textAlign = 'left';
    const x = plot.valToPos(this._place(last), 'x', true) + 5 * ratio;
    const heights = LEVELS.map(name => plot.valToPos(last[name]?.[1] ?? 1, 'y', true));
    spread(heights, 12 * ratio).forEach((y, i) => {
      const look = LOOKS[LEVELS[i]];
      context.fillStyle = theme.dark ? look.dark : look.light;
      context.fillText(LEVELS[i], x, y);
    });
  }

  private _stroke(
    plot: uPlot,
    context: CanvasRenderingContext2D,
    line: readonly (readonly [number, number | null])[],
    colour: string,
    dash: readonly number[],
    width: number
  ): void {
    const ratio = devicePixelRatio || 1;
    context.strokeStyle = colour;
    context.lineWidth = width * ratio;
    context.lineJoin = 'round';
    context.setLineDash(dash.map(length => length * ratio));
    context.beginPath();
    let drawing = false;
    for (const [place, value] of line) {
      if (value === null) {
        drawing = false;
        continue;
      }
      context[drawing ? 'lineTo' : 'moveTo'](
        plot.valToPos(place, 'x', true),
        plot.valToPos(value, 'y', true)
      );
      drawing = true;
    }
    context.stroke();
    context.setLineDash([]);
  }

  /** Dots with their intervals: hollow where not stable, pale where another slider was elsewhere. */
  private _drawMeasured(
    plot: uPlot,
    context: CanvasRenderingContext2D,
    theme: ITheme,
    names: readonly Figure[]
  ): void {
    const ratio = devicePixelRatio || 1;
    const [top, bottom] = [plot.bbox.top, plot.bbox.top + plot.bbox.height];
    for (const point of this._data.measured) {
      for (const name of names) {
        const found = point[name];
        if (found === null) {
          continue;
        }
        const look = LOOKS[name];
        const colour = faded(
          theme.dark ? look.dark : look.light,
          this._data.onCurve(point) ? 1 : 0.3
        );
        const x = plot.valToPos(this._place(point), 'x', true);
        const y = (value: number) => plot.valToPos(Math.max(value, 1e-9), 'y', true);
        const [low, middle, high] = found;
        // A bound that is not known goes on to the edge.
        const [from, to] = [low === null ? bottom : y(low), high === null ? top : y(high)];
        context.strokeStyle = colour;
        context.lineWidth = 1.5 * ratio;
        context.beginPath();
        context.moveTo(x, Math.min(from, bottom));
        context.lineTo(x, Math.max(to, top));
        for (const [known, end] of [
          [low, from],
          [high, to]
        ] as const) {
          if (known !== null) {
            context.moveTo(x - 4 * ratio, end);
            context.lineTo(x + 4 * ratio, end);
          }
        }
        context.stroke();
        context.beginPath();
        context.arc(x, y(middle), 4 * ratio, 0, 2 * Math.PI);
        context.fillStyle = point.verdict === STABLE ? colour : theme.surface;
        context.fill();
        context.stroke();
      }
    }
  }
}
