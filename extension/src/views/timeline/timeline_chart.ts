/** The transition timeline: states, memory, requests and latencies of versions on one time axis. */

import type uPlot from 'uplot';

import { button, dataTable, make, tableButton } from '../../charts/elements';
import { Plot, type IPlotOptions } from '../../charts/plot';
import { bytesText, clockText, countText, durationText } from '../../charts/text';
import { failedColour, faded, versionColour, type ITheme } from '../../charts/theme';
import { drawFailed, drawState } from '../../charts/version_marks';
import { KEPT_SECONDS } from '../../protocol/generated';
import { compareVersions } from '../../protocol/version';
import type { Dot } from './dots';
import { type ILine, type TimelineData } from './timeline_data';

const FRAME_MILLIS = 100;
/** The time between frames while nothing happens, long enough that an idle page costs almost
 * nothing: most of the cost is drawing four plots. */
const QUIET_FRAME_MILLIS = 5500;
/** At rest, an update is drawn at once, but not more often than this. */
const QUIET_NEWS_MILLIS = 4800;
const QUIET_SECONDS = 10;
const WINDOW_SECONDS = 30;
const SHORTEST_WINDOW = 0.5;
const LANE = 22;
const STEPS = 240;

let made = 0;

export class Timeline {
  readonly node: HTMLElement;
  private readonly _plots: Plot[];
  private readonly _lines: HTMLElement;
  private readonly _summary: HTMLElement;
  private readonly _table: HTMLElement;
  private readonly _pause: HTMLButtonElement;
  private readonly _ends: (() => void)[] = [];
  private _following = true;
  private _span = WINDOW_SECONDS;
  private _end = 0;
  private _cursor: number | null = null;
  private _frame = 0;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _quiet = false;
  private _tickedAt = 0;
  /** The server's clock when the page's clock was `_readAt`. */
  private _readAt = 0;

  constructor(
    host: HTMLElement,
    private readonly _data: TimelineData
  ) {
    const sync = `wb-timeline-${(made += 1)}`;
    const charts = make('div', {
      class: 'wb-charts',
      tabindex: '0',
      role: 'group',
      'aria-label':
        'Timeline. Left and right arrows move in time, plus and minus zoom, space pauses, End returns to the present.'
    });
    this._pause = button('Pause', 'Stop following the present (space)', () =>
      this.follow(!this._following)
    );
    const zoom = (factor: number) => () => this.zoom(factor);
    this._summary = make('p', { class: 'wb-summary', role: 'status', 'aria-live': 'polite' });
    this._lines = make('ol', { class: 'wb-lines', 'aria-label': 'Log lines of this moment' });
    this._table = make('div', { class: 'wb-twin', hidden: '' });
    const twin = tableButton(this._table, () => this._fillTable());
    this.node = make(
      'div',
      { class: 'wb-timeline' },
      make(
        'div',
        { class: 'wb-bar' },
        this._summary,
        this._pause,
        button('−', 'Show more time (-)', zoom(2)),
        button('+', 'Show less time (+)', zoom(0.5)),
        twin
      ),
      charts,
      this._table,
      this._lines
    );
    host.append(this.node);
    const base = {
      syncKey: sync,
      onCursor: (time: number | null) => this._point(time)
    };
    const options: IPlotOptions[] = [
      {
        ...base,
        height: 84,
        label: 'version',
        axis: false,
        values: value => this._laneName(value),
        range: () => [Math.max(1, this._data.versions.length) - 0.4, -0.6],
        draw: (plot, context, theme) => this._drawLanes(plot, context, theme)
      },
      {
        ...base,
        height: 110,
        label: 'memory',
        step: 2 ** 20,
        values: value => (value === 0 ? '0' : bytesText(value)),
        range: () => [0, this._mostMemory() * 1.12],
        draw: (plot, context, theme) => this._drawMemory(plot, context, theme)
      },
      {
        ...base,
        height: 100,
        label: 'requests/s',
        values: countText,
        range: () => [0, this._mostRequests() * 1.15],
        draw: (plot, context, theme) => this._drawRequests(plot, context, theme)
      },
      {
        ...base,
        height: 140,
        label: 'latency',
        logarithmic: true,
        times: time => this._timeText(time),
        values: value => durationText(value),
        range: () => this._latencies(),
        draw: (plot, context, theme) => this._drawDots(plot, context, theme)
      }
    ];
    this._plots = options.map(option => new Plot(charts, option));
    this._listen(charts);
    this._tick();
  }

  /** The data has grown: the present is now `now` on the server's clock. */
  update(): void {
    this._readAt = performance.now();
    if (this._end === 0) {
      this._end = this._data.now;
    }
    const words = this._words();
    if (words !== this._summary.textContent) {
      this._summary.textContent = words;
    }
    const happens = this._data.now - this._data.happened <= QUIET_SECONDS;
    const due = performance.now() - this._tickedAt >= QUIET_NEWS_MILLIS;
    if (this._quiet && (happens || due)) {
      clearTimeout(this._timer);
      this._tick();
    }
  }

  /** Follow the present, or stop. */
  follow(on: boolean): void {
    this._following = on;
    this._pause.textContent = on ? 'Pause' : 'Follow';
    this._pause.title = on ? 'Stop following the present (space)' : 'Go to the present (End)';
    this._draw();
  }

  zoom(factor: number, around?: number): void {
    const span = Math.min(KEPT_SECONDS, Math.max(SHORTEST_WINDOW, this._span * factor));
    if (around !== undefined && !this._following) {
      this._end = around + (this._end - around) * (span / this._span);
    }
    this._span = span;
    this._draw();
  }

  /** Scroll by a share of the visible time; going back stops following the present. */
  pan(share: number): void {
    const latest = this._present();
    this._end = Math.min(latest, (this._following ? latest : this._end) + share * this._span);
    this._end = Math.max(this._end, latest - KEPT_SECONDS);
    if (share < 0 && this._following) {
      this.follow(false);
    }
    this._draw();
  }

  dispose(): void {
    clearTimeout(this._timer);
    cancelAnimationFrame(this._frame);
    for (const end of this._ends) {
      end();
    }
    for (const plot of this._plots) {
      plot.dispose();
    }
    this.node.remove();
  }

  private _listen(charts: HTMLElement): void {
    const keys: Record<string, () => void> = {
      ArrowLeft: () => this.pan(-0.2),
      ArrowRight: () => this.pan(0.2),
      Home: () => this.pan(-KEPT_SECONDS),
      End: () => this.follow(true),
      '+': () => this.zoom(0.5),
      '=': () => this.zoom(0.5),
      '-': () => this.zoom(2),
      ' ': () => this.follow(!this._following)
    };
    charts.addEventListener('keydown', event => {
      const act = keys[event.key];
      if (act !== undefined) {
        act();
        event.preventDefault();
        event.stopPropagation();
      }
    });
    charts.addEventListener(
      'wheel',
      event => {
        // Scrolling without a modifier key scrolls the page.
        if (event.ctrlKey || event.metaKey) {
          this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this._plots[0].timeAt(event.clientX));
          event.preventDefault();
        }
      },
      { passive: false }
    );
    let from: number | null = null;
    charts.addEventListener('pointerdown', event => {
      from = event.clientX;
      charts.setPointerCapture(event.pointerId);
    });
    charts.addEventListener('pointermove', event => {
      if (from !== null && Math.abs(event.clientX - from) > 2) {
        this.pan((from - event.clientX) / Math.max(1, this._plots[0].plotWidth));
        from = event.clientX;
      }
    });
    for (const name of ['pointerup', 'pointercancel'] as const) {
      charts.addEventListener(name, () => {
        from = null;
      });
    }
  }

  private _present(): number {
    const since = this._readAt === 0 ? 0 : (performance.now() - this._readAt) / 1e3;
    // Without updates, time stops: the view shows only what is known.
    return this._data.now + Math.min(since, 1.5);
  }

  private _tick = (): void => {
    // In a tab that is behind another it has no place on the page.
    const drawn = this._following && this.node.offsetParent !== null;
    this._tickedAt = performance.now();
    if (drawn) {
      this._frame = requestAnimationFrame(() => this._draw());
    }
    this._quiet = !drawn || this._data.now - this._data.happened > QUIET_SECONDS;
    this._timer = setTimeout(this._tick, this._quiet ? QUIET_FRAME_MILLIS : FRAME_MILLIS);
  };

  private _draw(): void {
    if (this._data.now === 0) {
      return;
    }
    if (this._following) {
      this._end = this._present();
    }
    for (const plot of this._plots) {
      plot.show(this._end - this._span, this._end);
    }
  }

  private get _start(): number {
    return this._end - this._span;
  }

  private _timeText(time: number): string {
    const wall = this._data.wall - this._data.now + time;
    const text = clockText(wall);
    return this._span < 8 ? `${text}.${Math.floor((wall % 1) * 10)}` : text;
  }

  private _laneName(value: number): string {
    const version = this._data.versions[value];
    return version === undefined ? '' : `v${version}`;
  }

  private _drawLanes(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const versions = this._data.versions;
    const ratio = devicePixelRatio || 1;
    const height = Math.min(LANE * ratio, plot.bbox.height / Math.max(1, versions.length) - 3);
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textBaseline = 'middle';
    context.textAlign = 'left';
    for (const span of this._data.spans) {
      const end = span.end ?? this._present();
      if (end < this._start || span.start > this._end) {
        continue;
      }
      const left = plot.valToPos(Math.max(span.start, this._start), 'x', true);
      const right = plot.valToPos(Math.min(end, this._end), 'x', true);
      const middle = plot.valToPos(versions.indexOf(span.version), 'y', true);
      drawState(context, theme, span, [left, right], middle, height);
    }
  }

  private _times(): number[] {
    return Array.from({ length: STEPS + 1 }, (_, i) => this._start + (i / STEPS) * this._span);
  }

  private _mostMemory(): number {
    const sums = new Array<number>(STEPS + 1).fill(0);
    for (const bytes of this._data.memoryAt(this._times()).values()) {
      bytes.forEach((value, i) => {
        sums[i] += value;
      });
    }
    return Math.max(2 ** 20, ...sums);
  }

  private _drawMemory(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const times = this._times();
    const below = new Array<number>(times.length).fill(0);
    for (const [version, bytes] of this._data.memoryAt(times)) {
      const colour = versionColour(version, theme.dark);
      context.beginPath();
      times.forEach((time, i) => {
        context.lineTo(
          plot.valToPos(time, 'x', true),
          plot.valToPos(below[i] + bytes[i], 'y', true)
        );
      });
      for (let i = times.length - 1; i >= 0; i -= 1) {
        context.lineTo(plot.valToPos(times[i], 'x', true), plot.valToPos(below[i], 'y', true));
      }
      context.closePath();
      context.fillStyle = faded(colour, theme.contrast ? 1 : 0.55);
      context.fill();
      bytes.forEach((value, i) => {
        below[i] += value;
      });
    }
  }

  private _mostRequests(): number {
    const { by, failed } = this._data.ratesIn(this._start, this._end);
    const sums = failed.slice();
    for (const counts of by.values()) {
      counts.forEach((count, i) => {
        sums[i] += count;
      });
    }
    return Math.max(5, ...sums);
  }

  private _drawRequests(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const { at, by, failed } = this._data.ratesIn(this._start, this._end);
    const base = plot.valToPos(0, 'y', true);
    const stacks: [string, number[]][] = [...by.entries()]
      .sort(([a], [b]) => compareVersions(a, b))
      .map(([version, counts]) => [faded(versionColour(version, theme.dark), 0.75), counts]);
    stacks.push([failedColour(theme.dark), failed]);
    at.forEach((second, i) => {
      const left = plot.valToPos(second, 'x', true);
      const width = Math.max(1, plot.valToPos(second + 1, 'x', true) - left - 1);
      let sum = 0;
      for (const [colour, counts] of stacks) {
        if (counts[i] > 0) {
          const bottom = sum === 0 ? base : plot.valToPos(sum, 'y', true);
          sum += counts[i];
          const top = plot.valToPos(sum, 'y', true);
          context.fillStyle = colour;
          context.fillRect(left, top, width, bottom - top);
        }
      }
    });
  }

  private _dots(): { tiles: Dot[][]; least: number; most: number } {
    // The range of the axis is asked for before the plots are there.
    const columns = this._plots?.[0].plotWidth ?? STEPS;
    return this._data.dots.visible(this._start, this._end, columns);
  }

  private _latencies(): [number, number] {
    const { least, most } = this._dots();
    return [Math.min(1000, least) / 1.5, Math.max(10_000, most) * 2];
  }

  private _drawDots(plot: uPlot, context: CanvasRenderingContext2D, theme: ITheme): void {
    const ratio = devicePixelRatio || 1;
    const size = 2.5 * ratio;
    const top = plot.bbox.top + 6 * ratio;
    for (const [at, micros, version, code] of this._dots().tiles.flat()) {
      const x = plot.valToPos(at, 'x', true);
      if (code !== 0) {
        drawFailed(context, theme, x, top, size);
        continue;
      }
      context.fillStyle = faded(versionColour(version ?? 0, theme.dark), theme.contrast ? 1 : 0.6);
      context.fillRect(x - size / 2, plot.valToPos(micros, 'y', true) - size / 2, size, size);
    }
  }

  private _point(time: number | null): void {
    this._cursor = time;
    const reach = this._span / 60;
    const lines = time === null ? this._data.lines.slice(-4) : this._data.linesAt(time, reach);
    this._lines.replaceChildren(...lines.slice(-6).map(line => this._lineItem(line)));
  }

  private _lineItem(line: ILine): HTMLElement {
    const item = make(
      'li',
      { class: line.kind === 'decision' ? 'wb-decision' : '' },
      make('span', { class: 'wb-when' }, clockText(line.wall)),
      line.text
    );
    return item;
  }

  /** The present in words. */
  private _words(): string {
    if (this._cursor === null) {
      this._point(null);
    }
    const living = this._data.spans.filter(span => span.end === null);
    const states = living.map(span => `version ${span.version} ${span.state.toLowerCase()}`);
    return states.join(', ') || 'no version';
  }

  private _fillTable(): void {
    if (this._table.hidden) {
      return;
    }
    const rows: string[][] = [];
    const seconds = [...this._data.seconds.values()]
      .filter(second => second[0] >= this._start - 1 && second[0] <= this._end)
      .sort((a, b) => a[0] - b[0]);
    for (const [second, version, answered, failed, p50, p99] of seconds) {
      const memory = version === null ? null : this._data.memoryAt([second]).get(version)?.[0];
      rows.push([
        this._timeText(second),
        version === null ? '–' : String(version),
        String(answered),
        String(failed),
        p50 === null ? '–' : durationText(p50),
        p99 === null ? '–' : durationText(p99),
        memory ? bytesText(memory) : '–'
      ]);
    }
    const head = ['time', 'version', 'answered', 'failed', 'p50 up to', 'p99 up to', 'memory'];
    this._table.replaceChildren(dataTable('Visible time, second by second', head, rows));
  }
}
