/** The charts of a sweep explorer: latency and throughput along one slider's values. Lines are
 * simulated, dots with bars are measured. */

import { LATENCY_AXIS } from '../../charts/axes';
import { LINE_LOOKS, lineColour } from '../../charts/line_looks';
import type { Pen } from '../../charts/pen';
import { Plot, type IPlotOptions } from '../../charts/plot';
import { countText } from '../../charts/text';
import { faded } from '../../charts/theme';
import { STABLE } from '../../protocol/generated';
import {
  spread,
  valueText,
  type Figure,
  type IPoint,
  type Setting,
  type SweepData
} from './sweep_data';

const LEVELS = ['p50', 'p90', 'p99'] as const;
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
    const syncKey = `wb-sweep-${(made += 1)}`;
    const options: IPlotOptions[] = [
      {
        syncKey,
        height: 190,
        ...LATENCY_AXIS,
        range: () => this._data.latencyRange(),
        draw: pen => this._drawLatency(pen)
      },
      {
        syncKey,
        height: 130,
        label: 'answered/s',
        values: countText,
        times: place => this._placeText(place),
        splits: this._splits,
        range: () => [0, this._data.mostThroughput()],
        draw: pen => this._drawThroughput(pen)
      }
    ];
    this._plots = options.map(option => new Plot(host, option));
    this.update();
  }

  /** The data has changed. */
  update(): void {
    const steps = this._data.scales[this._data.axis].length - 1;
    this._splits.splice(0, this._splits.length, ...this._data.splits());
    this._plots.forEach((plot, i) => {
      plot.show(-LEFT_ROOM, steps + LEFT_ROOM + NAME_SHARE * steps);
      plot.describe(`${i === 0 ? 'latency' : 'throughput'}. ${this._data.summary()}`);
    });
  }

  dispose(): void {
    this._plots.forEach(plot => plot.dispose());
  }

  private _placeText(place: number): string {
    const value = this._data.scales[this._data.axis][place];
    return value === undefined ? '' : valueText(this._data.axis, value);
  }

  /** The place of a setting on the axis. */
  private _place(setting: Setting): number {
    return this._data.place(this._data.axis, setting[this._data.axis]);
  }

  private _drawLatency(pen: Pen): void {
    this._drawSlider(pen);
    LEVELS.forEach(name => this._drawLine(pen, name));
    this._drawMeasured(pen, ['p50', 'p99']);
    this._drawNames(pen);
  }

  private _drawThroughput(pen: Pen): void {
    this._drawSlider(pen);
    // The offered rate, as a ceiling.
    pen.stroke(faded(pen.theme.dark ? '#a0a0a0' : '#656d76', 0.9), 1, [3, 3]);
    pen.line(this._curve().map(({ setting }) => [this._place(setting), setting.rate]));
    this._drawLine(pen, 'achieved');
    this._drawMeasured(pen, ['achieved']);
  }

  /** The curve; empty while the curve of a new axis is being simulated. */
  private _curve(): IPoint[] {
    return this._data.curveAxis === this._data.axis ? this._data.curve : [];
  }

  /** Where the slider is. */
  private _drawSlider(pen: Pen): void {
    pen.stroke(pen.theme.soft);
    pen.upright(this._place(this._data.setting));
  }

  private _drawLine(pen: Pen, name: Figure): void {
    const colour = lineColour(name, pen.theme);
    const curve = this._curve();
    pen.stroke(colour, 2, LINE_LOOKS[name].dash);
    pen.line(curve.map(point => [this._place(point.setting), point[name]?.[1] ?? null]));
    const here = this._data.here?.[name];
    if (here && curve.length > 0) {
      pen.context.fillStyle = colour;
      pen.square(pen.x(this._place(this._data.setting)), pen.y(here[1]), 5);
    }
  }

  /** The lines' names at their right ends. */
  private _drawNames(pen: Pen): void {
    const last = [...this._curve()].reverse().find(point => point.p99 !== null);
    if (last === undefined) {
      return;
    }
    pen.write('left', 'middle');
    const x = pen.x(this._place(last.setting)) + 5 * pen.ratio;
    const heights = LEVELS.map(name => pen.y(last[name]?.[1] ?? 1));
    spread(heights, 12 * pen.ratio).forEach((y, i) => {
      pen.context.fillStyle = lineColour(LEVELS[i], pen.theme);
      pen.context.fillText(LEVELS[i], x, y);
    });
  }

  /** Dots with their intervals: hollow if not stable, pale if another slider differed. */
  private _drawMeasured(pen: Pen, names: readonly Figure[]): void {
    const { context, ratio, theme, top, bottom } = pen;
    const y = (value: number) => pen.y(Math.max(value, 1e-9));
    for (const point of this._data.measured) {
      const x = pen.x(this._place(point.setting));
      for (const name of names) {
        const found = point[name];
        if (found === null) {
          continue;
        }
        const colour = faded(lineColour(name, theme), this._data.onCurve(point) ? 1 : 0.3);
        const [low, middle, high] = found;
        // The bar of an unknown bound ends at the edge.
        const [from, to] = [low === null ? bottom : y(low), high === null ? top : y(high)];
        pen.stroke(colour, 1.5);
        context.beginPath();
        context.moveTo(x, Math.min(from, bottom));
        context.lineTo(x, Math.max(to, top));
        for (const end of [...(low === null ? [] : [from]), ...(high === null ? [] : [to])]) {
          context.moveTo(x - 4 * ratio, end);
          context.lineTo(x + 4 * ratio, end);
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
