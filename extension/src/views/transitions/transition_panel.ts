/** One policy's run: states, memory and requests, on axes shared with the other runs. */

import { laneAxis, LATENCY_AXIS, MEMORY_AXIS } from '../../charts/axes';
import { make } from '../../charts/elements';
import type { Pen } from '../../charts/pen';
import { Plot, type IPlotOptions } from '../../charts/plot';
import { faded, failedColour, versionColour } from '../../charts/theme';
import { drawFailed, drawLanes } from '../../charts/version_marks';
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
  private readonly _moment = make('p.wb-moment.wb-soft');

  constructor(
    host: HTMLElement,
    private readonly _run: IRun,
    private readonly _axes: SharedAxes,
    syncKey: string,
    onCursor: (time: number | null) => void
  ) {
    const plots = make('div');
    this.node = make('section.wb-panel', { 'aria-label': `${_run.title}: ${_run.head}` }, [
      make('h4', _run.title),
      make('p.wb-soft', _run.head),
      plots,
      this._moment
    ]);
    host.append(this.node);
    const options: IPlotOptions[] = [
      {
        syncKey,
        onCursor,
        height: 24 + LANE * _axes.versions.length,
        ...laneAxis(() => _axes.versions),
        draw: pen => this._drawLanes(pen)
      },
      {
        syncKey,
        height: 84,
        ...MEMORY_AXIS,
        range: () => [0, _axes.mostMemory],
        draw: pen => this._drawMemory(pen)
      },
      {
        syncKey,
        height: 130,
        ...LATENCY_AXIS,
        times: time => sinceText(time, _axes.span),
        range: () => _axes.latencies,
        draw: pen => this._drawRequests(pen)
      }
    ];
    this._plots = options.map(option => new Plot(plots, option));
    this._plots.forEach((plot, i) =>
      plot.describe(`${_run.title}, ${options[i].label}: ${_run.head}`)
    );
    this.update();
  }

  /** Draw again after a change of the visible time or of the selected moment. */
  update(): void {
    this._plots.forEach(plot => plot.show(this._axes.start, this._axes.end));
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

  /** The plot that knows the time below the pointer. */
  get plot(): Plot {
    return this._plots[0];
  }

  dispose(): void {
    this._plots.forEach(plot => plot.dispose());
    this.node.remove();
  }

  /** Shade the time when no version served. */
  private _drawGaps(pen: Pen): void {
    pen.context.fillStyle = faded(failedColour(pen.theme.dark), 0.13);
    for (const [start, end] of this._run.gaps) {
      const left = pen.x(Math.max(start, this._axes.start));
      const right = pen.x(Math.min(end, this._axes.end));
      if (right > left) {
        pen.context.fillRect(left, pen.top, right - left, pen.bottom - pen.top);
      }
    }
  }

  /** Lines at the time when the version was requested, and at the selected moment. */
  private _drawMoments(pen: Pen): void {
    pen.stroke(pen.theme.soft);
    pen.upright(0);
    if (this._axes.moment !== null) {
      pen.stroke(pen.theme.ink);
      pen.upright(this._axes.moment);
    }
  }

  private _drawLanes(pen: Pen): void {
    const { start, end, versions } = this._axes;
    this._drawGaps(pen);
    drawLanes(pen, this._run.spans, versions, [start, end], LANE - 4);
    this._drawMoments(pen);
    const { context, ratio, top, theme } = pen;
    context.fillStyle = theme.ink;
    for (const { at } of this._run.decisions) {
      const x = pen.x(at);
      context.beginPath();
      context.moveTo(x - 4 * ratio, top);
      context.lineTo(x + 4 * ratio, top);
      context.lineTo(x, top + 6 * ratio);
      context.fill();
    }
  }

  private _drawMemory(pen: Pen): void {
    this._drawGaps(pen);
    const { at, by } = this._run.memory;
    const layers = by.map(
      ([version, bytes]) => [faded(versionColour(version, pen.theme.dark), 0.55), bytes] as const
    );
    pen.areas(at, layers);
    this._drawMoments(pen);
  }

  private _drawRequests(pen: Pen): void {
    this._drawGaps(pen);
    this._drawMoments(pen);
    const { context, ratio, theme } = pen;
    context.lineWidth = ratio;
    for (const [due, micros, version, kind] of this._run.dots) {
      if (due < this._axes.start || due > this._axes.end) {
        continue;
      }
      const x = pen.x(due);
      if (kind === FAILED) {
        drawFailed(pen, x);
        continue;
      }
      const colour = faded(versionColour(version, theme.dark), 0.65);
      if (kind === HELD) {
        context.strokeStyle = colour;
        context.beginPath();
        context.arc(x, pen.y(micros), 2.5 * ratio, 0, 2 * Math.PI);
        context.stroke();
      } else {
        context.fillStyle = colour;
        pen.square(x, pen.y(micros), 2.5);
      }
    }
  }
}
