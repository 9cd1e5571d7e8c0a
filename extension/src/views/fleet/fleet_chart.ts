/** The charts of a fleet explorer: latency over time, and the servers as lanes with their queues. */

import { LATENCY_AXIS } from '../../charts/axes';
import { LINE_LOOKS, lineColour } from '../../charts/line_looks';
import type { Pen } from '../../charts/pen';
import { Plot } from '../../charts/plot';
import { countText, durationText } from '../../charts/text';
import { faded, versionColour, type ITheme } from '../../charts/theme';
import { drawFailed } from '../../charts/version_marks';
import { isMarked, laneHeight, latencyRange, type IFleet, type ILane } from './fleet_data';
import { drawPhase } from './phase_marks';

/** With fewer lanes, room below them stays empty: lanes do not become higher than is readable. */
const FEWEST_LANES = 4;
const LANE_GAP = 0.14;
const LOWEST_NAMED = 13;
const MOST_NAMES = 8;

let made = 0;

/** The colour of queues. */
export function queueColour(theme: ITheme): string {
  return versionColour(1, theme.dark);
}

export class FleetChart {
  private readonly _latency: Plot;
  private readonly _lanes: Plot;
  private _fleet: IFleet | null = null;

  constructor(host: HTMLElement) {
    const syncKey = `wb-fleet-${(made += 1)}`;
    this._latency = new Plot(host, {
      syncKey,
      height: 150,
      ...LATENCY_AXIS,
      range: () => (this._fleet === null ? [1e3, 1e5] : latencyRange(this._fleet)),
      draw: pen => this._drawLatency(pen)
    });
    this._lanes = new Plot(host, {
      syncKey,
      height: 190,
      label: 'server',
      axis: false,
      marks: () => this._rows().map(row => this._height(row)),
      values: height => String(this._fleet?.lanes[this._height(height)]?.server ?? ''),
      times: seconds => (seconds === 0 ? '0' : durationText(seconds * 1e6)),
      range: () => [-0.55, this._height(0) + 0.55],
      draw: pen => this._drawLanes(pen)
    });
  }

  show(fleet: IFleet): void {
    this._fleet = fleet;
    for (const plot of [this._latency, this._lanes]) {
      plot.show(0, fleet.seconds);
    }
    this._latency.describe(`latency over time. ${fleet.sentence}`);
    this._lanes.describe(
      `servers as lanes, a full lane is ${laneHeight(fleet)} requests. ${fleet.sentence}`
    );
  }

  dispose(): void {
    this._latency.dispose();
    this._lanes.dispose();
  }

  /** The rows of lanes whose server is named. */
  private _rows(): number[] {
    const count = this._fleet?.lanes.length ?? 0;
    const every = Math.ceil(count / MOST_NAMES);
    return Array.from({ length: count }, (_, row) => row).filter(row => row % every === 0);
  }

  /** The height of a row on the axis, the first row on top; and the row of a height. */
  private _height(row: number): number {
    return Math.max(FEWEST_LANES, this._fleet?.lanes.length ?? 0) - 1 - row;
  }

  private _drawLatency(pen: Pen): void {
    if (this._fleet === null) {
      return;
    }
    const { latency } = this._fleet;
    for (const name of ['p50', 'p99'] as const) {
      pen.stroke(lineColour(name, pen.theme), 2, LINE_LOOKS[name].dash);
      pen.line(latency.at.map((at, i) => [at, latency[name][i]]));
    }
    pen.stroke(pen.theme.ink, 1.2);
    latency.at.forEach((at, i) => {
      if (latency.failed[i] > 0) {
        drawFailed(pen, pen.x(at));
      }
    });
  }

  private _drawLanes(pen: Pen): void {
    if (this._fleet === null) {
      return;
    }
    const most = laneHeight(this._fleet);
    this._fleet.lanes.forEach((lane, row) => this._drawLane(pen, lane, row, most));
  }

  private _drawLane(pen: Pen, lane: ILane, row: number, most: number): void {
    const { context, ratio, theme } = pen;
    const middle = this._height(row);
    const [top, bottom] = [pen.y(middle + 0.5 - LANE_GAP), pen.y(middle - 0.5)];
    const height = bottom - top;
    for (const { phase, start, end } of lane.spells) {
      const [left, right] = [pen.x(start), pen.x(end)];
      if (phase === 'serving' || phase === 'slower' || phase === 'draining') {
        context.fillStyle = faded(queueColour(theme), theme.contrast ? 0.2 : 0.1);
        context.fillRect(left, top, right - left, height);
      }
    }
    this._drawQueue(pen, lane.queue, [top, bottom], most);
    pen.write('left', 'middle');
    for (const { phase, start, end } of lane.spells) {
      if (isMarked(phase)) {
        const [left, right] = [pen.x(start), pen.x(end)];
        drawPhase(context, phase, [left, top, Math.max(ratio, right - left), height], theme, ratio);
        const wide = context.measureText(phase).width + 10 * ratio;
        if (wide < right - left && height > LOWEST_NAMED * ratio) {
          const y = (top + bottom) / 2;
          context.fillStyle = theme.surface;
          context.fillRect(left + 4 * ratio, y - 7 * ratio, wide - 4 * ratio, 14 * ratio);
          context.fillStyle = theme.ink;
          context.fillText(phase, left + 7 * ratio, y + ratio);
        }
      }
    }
  }

  /** The requests in a server, as an area from the bottom of its lane. */
  private _drawQueue(
    pen: Pen,
    queue: readonly number[],
    [top, bottom]: [number, number],
    most: number
  ): void {
    const { context } = pen;
    const step = (this._fleet?.seconds ?? 0) / queue.length;
    context.fillStyle = faded(queueColour(pen.theme), 0.85);
    context.beginPath();
    context.moveTo(pen.x(0), bottom);
    queue.forEach((held, i) => {
      const y = bottom - (bottom - top) * Math.min(1, held / most);
      context.lineTo(pen.x(i * step), y);
      context.lineTo(pen.x((i + 1) * step), y);
    });
    context.lineTo(pen.x(queue.length * step), bottom);
    context.fill();
  }
}

/** What a full lane means. */
export function laneText(fleet: IFleet): string {
  return `requests in the server (a full lane: ${countText(laneHeight(fleet))})`;
}
