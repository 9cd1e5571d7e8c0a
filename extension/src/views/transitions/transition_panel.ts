/** One policy's run: states, memory and requests, on axes shared with the other runs. */

import type uPlot from 'uplot';

import { make } from '../../charts/elements';
import { Plot, type IPlotOptions } from '../../charts/plot';
import { bytesText, durationText } from '../../charts/text';
import { faded, failedColour, versionColour, type ITheme } from '../../charts/theme';
import { drawFailed, drawState } from '../../charts/version_marks';
import {
  FAILED,
  HELD,
  momentText,
  sinceText,
  type IRun,
  type SharedAxes
} from './transitions_data';

const LANE = 20;

export class TransitionPanel {
  readonly node: HTMLElement;
  private readonly _plots: Plot[];
  private readonly _moment = make('p', { class: 'wb-moment wb-soft' });

  constructor(
    host: HTMLElement,
    private readonly _run: IRun,
    private readonly _axes: SharedAxes,
    syncKey: string,
    onCursor: (time: number | null) => void
  ) {
    const plots = make('div');
    this.node = make(
      'section',
      { class: 'wb-panel', 'aria-label': `${_run.title}: ${_run.head}` },
      make('h4', {}, _run.title),
      make('p', { class: 'wb-soft' }, _run.head),
      plots,
      this._moment
    );
    host.append(this.node);
    const { versions } = _axes;
    const options: IPlotOptions[] = [
      {
        syncKey,
        onCursor,
        height: 24 + LANE * versions.length,
        label: 'version',
        axis: false,
        values: value => (versions[value] === undefined ? '' : `v${versions[value]}`),
        range: () => [versions.length - 0.4, -0.6],
        draw: (plot, context, theme) => this._drawLanes(plot, context, theme)
      },
      {
        syncKey,
        height: 84,
        label: 'memory',
        step: 2 ** 20,
        values: value => (value === 0 ? '0' : bytesText(value)),
        range: () => [0, _axes.mostMemory],
        draw: (plot, context, theme) => this._drawMemory(plot, context, theme)
      },
      {
        syncKey,
        height: 130,
        label: 'latency',
        logarithmic: true,
        times: time => sinceText(time, _axes.span),
        values: durationText,
        range: () => _axes.latencies,
        draw: (plot, context, theme) => this._drawRequests(plot, context, theme)
      }
    ];
    this._plots = options.map(option => new Plot(plots, option));
    this._plots.forEach((plot, i) =>
      plot.describe(`${_run.title}, ${options[i].label}: ${_run.head}`)
    );
    this.update();
  }

  /** Draw again: the visible time or the selected moment has changed. */
  update(): void {
    for (const plot of this._plots) {
      plot.show(this._axes.start, this._axes.end);
    }
    this.tell();
  }

  /** Describe the selected moment. */
  tell(): void {
    const { moment } = this._axes;
    this._moment.textContent =
      moment === null
        ? ''
        : `${sinceText(moment, this._axes.span)}: ${momentText(this._run, moment)}`;
  }

  /** The time below a point of the page, and how wide the plots are. */
  timeAt(clientX: number): number {
    return this._plots[0].timeAt(clientX);
  }

  get plotWidth(): number {
    return this._plots[0].plotWidth;
  }

  dispose(): void {
    for (const plot of this._plots) {
      plot.dispose();
    }
    this.node.remove();
  }

  /** Shade the time when no version served. */
  private _drawGaps(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const { top, height } = plot.bbox;
    context.fillStyle = faded(failedColour(theme.dark), 0.13);
    for (const [start, end] of this._run.gaps) {
      const left = plot.valToPos(Math.max(start, this._axes.start), 'x', true);
      const right = plot.valToPos(Math.min(end, this._axes.end), 'x', true);
      if (right > left) {
        context.fillRect(left, top, right - left, height);
      }
    }
  }

  /** Lines at the time when the version was requested, and at the selected moment. */
  private _drawMoments(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const { top, height } = plot.bbox;
    const lines: [number, string][] = [[0, theme.soft]];
    if (this._axes.moment !== null) {
      lines.push([this._axes.moment, theme.ink]);
    }
    context.lineWidth = devicePixelRatio || 1;
    for (const [time, colour] of lines) {
      const x = plot.valToPos(time, 'x', true);
      context.strokeStyle = colour;
      context.beginPath();
      context.moveTo(x, top);
      context.lineTo(x, top + height);
      context.stroke();
    }
  }

  private _drawLanes(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const ratio = devicePixelRatio || 1;
    this._drawGaps(plot, context, theme);
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textBaseline = 'middle';
    context.textAlign = 'left';
    for (const span of this._run.spans) {
      if (span.end < this._axes.start || span.start > this._axes.end) {
        continue;
      }
      const left = plot.valToPos(Math.max(span.start, this._axes.start), 'x', true);
      const right = plot.valToPos(Math.min(span.end, this._axes.end), 'x', true);
      const middle = plot.valToPos(this._axes.versions.indexOf(span.version), 'y', true);
      drawState(context, theme, span, [left, right], middle, (LANE - 4) * ratio);
    }
    this._drawMoments(plot, context, theme);
    context.fillStyle = theme.ink;
    for (const { at } of this._run.decisions) {
      const x = plot.valToPos(at, 'x', true);
      context.beginPath();
      context.moveTo(x - 4 * ratio, plot.bbox.top);
      context.lineTo(x + 4 * ratio, plot.bbox.top);
      context.lineTo(x, plot.bbox.top + 6 * ratio);
      context.fill();
    }
  }

  private _drawMemory(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    this._drawGaps(plot, context, theme);
    const { at, by } = this._run.memory;
    const xs = at.map(time => plot.valToPos(time, 'x', true));
    const below = new Array<number>(at.length).fill(0);
    for (const [version, bytes] of by) {
      context.beginPath();
      xs.forEach((x, i) => context.lineTo(x, plot.valToPos(below[i] + bytes[i], 'y', true)));
      for (let i = xs.length - 1; i >= 0; i -= 1) {
        context.lineTo(xs[i], plot.valToPos(below[i], 'y', true));
      }
      context.closePath();
      context.fillStyle = faded(versionColour(version, theme.dark), 0.55);
      context.fill();
      bytes.forEach((value, i) => {
        below[i] += value;
      });
    }
    this._drawMoments(plot, context, theme);
  }

  private _drawRequests(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    this._drawGaps(plot, context, theme);
    this._drawMoments(plot, context, theme);
    const ratio = devicePixelRatio || 1;
    const size = 2.5 * ratio;
    context.lineWidth = ratio;
    for (const [due, micros, version, kind] of this._run.dots) {
      if (due < this._axes.start || due > this._axes.end) {
        continue;
      }
      const x = plot.valToPos(due, 'x', true);
      if (kind === FAILED) {
        drawFailed(context, theme, x, plot.bbox.top + 7 * ratio, size);
        continue;
      }
      const y = plot.valToPos(micros, 'y', true);
      const colour = faded(versionColour(version, theme.dark), 0.65);
      if (kind === HELD) {
        context.strokeStyle = colour;
        context.beginPath();
        context.arc(x, y, size, 0, 2 * Math.PI);
        context.stroke();
      } else {
        context.fillStyle = colour;
        context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }
  }
}
