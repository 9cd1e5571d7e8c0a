/** The transition timeline: states, memory, requests and latencies of versions on one time axis. */

import { laneAxis, LATENCY_AXIS, MEMORY_AXIS, sumsOf } from '../../charts/axes';
import { button, dataTable, make, onKeys, say, Twin } from '../../charts/elements';
import { navigate } from '../../charts/navigation';
import type { Pen } from '../../charts/pen';
import { Plot, type IPlotOptions } from '../../charts/plot';
import { bytesText, clockText, countText, durationText } from '../../charts/text';
import { failedColour, faded, versionColour } from '../../charts/theme';
import { drawFailed, drawLanes } from '../../charts/version_marks';
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
  private readonly _lines = make('ol.wb-lines', { 'aria-label': 'Log lines of this moment' });
  private readonly _summary = make('p.wb-summary', { role: 'status', 'aria-live': 'polite' });
  private readonly _twin = new Twin(() => this._secondsTable());
  private readonly _pause = button('Pause', 'Stop following the present (space)', () =>
    this.follow(!this._following)
  );
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
    const charts = make('div.wb-charts', {
      tabindex: '0',
      role: 'group',
      'aria-label':
        'Timeline. Left and right arrows move in time, plus and minus zoom, space pauses, End returns to the present.'
    });
    this.node = make('div.wb-timeline', [
      make('div.wb-bar', [
        this._summary,
        this._pause,
        button('−', 'Show more time (-)', () => this.zoom(2)),
        button('+', 'Show less time (+)', () => this.zoom(0.5)),
        this._twin.button
      ]),
      charts,
      this._twin.node,
      this._lines
    ]);
    host.append(this.node);
    const base = {
      syncKey: `wb-timeline-${(made += 1)}`,
      onCursor: (time: number | null) => this._point(time)
    };
    const options: IPlotOptions[] = [
      {
        ...base,
        height: 84,
        ...laneAxis(() => this._data.versions),
        draw: pen => this._drawLanes(pen)
      },
      {
        ...base,
        height: 110,
        ...MEMORY_AXIS,
        range: () => [0, this._mostMemory() * 1.12],
        draw: pen => this._drawMemory(pen)
      },
      {
        ...base,
        height: 100,
        label: 'requests/s',
        values: countText,
        range: () => [0, this._mostRequests() * 1.15],
        draw: pen => this._drawRequests(pen)
      },
      {
        ...base,
        height: 140,
        ...LATENCY_AXIS,
        times: time => this._timeText(time),
        range: () => this._latencies(),
        draw: pen => this._drawDots(pen)
      }
    ];
    this._plots = options.map(option => new Plot(charts, option));
    this._listen(charts);
    this._tick();
  }

  /** The data has grown: its `now` is the server's present. */
  update(): void {
    this._readAt = performance.now();
    if (this._end === 0) {
      this._end = this._data.now;
    }
    say(this._summary, this._words());
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
    this._plots.forEach(plot => plot.dispose());
    this.node.remove();
  }

  private _listen(charts: HTMLElement): void {
    onKeys(charts, {
      ArrowLeft: () => this.pan(-0.2),
      ArrowRight: () => this.pan(0.2),
      Home: () => this.pan(-KEPT_SECONDS),
      End: () => this.follow(true),
      '+': () => this.zoom(0.5),
      '=': () => this.zoom(0.5),
      '-': () => this.zoom(2),
      ' ': () => this.follow(!this._following)
    });
    navigate(
      charts,
      () => this._plots[0],
      (factor, around) => this.zoom(factor, around),
      share => this.pan(share)
    );
  }

  private _present(): number {
    const since = this._readAt === 0 ? 0 : (performance.now() - this._readAt) / 1e3;
    // Without updates time stops, because nothing later is known.
    return this._data.now + Math.min(since, 1.5);
  }

  private _tick = (): void => {
    // A tab behind another one has no place on the page.
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
    this._plots.forEach(plot => plot.show(this._start, this._end));
  }

  private get _start(): number {
    return this._end - this._span;
  }

  private _timeText(time: number): string {
    const wall = this._data.wall - this._data.now + time;
    const text = clockText(wall);
    return this._span < 8 ? `${text}.${Math.floor((wall % 1) * 10)}` : text;
  }

  private _drawLanes(pen: Pen): void {
    const { spans, versions } = this._data;
    const room = (pen.bottom - pen.top) / Math.max(1, versions.length) - 3;
    const shown = spans.map(span => ({ ...span, end: span.end ?? this._present() }));
    const height = Math.min(LANE, room / pen.ratio);
    drawLanes(pen, shown, versions, [this._start, this._end], height);
  }

  private _times(): number[] {
    return Array.from({ length: STEPS + 1 }, (_, i) => this._start + (i / STEPS) * this._span);
  }

  private _mostMemory(): number {
    return Math.max(2 ** 20, ...sumsOf(this._data.memoryAt(this._times()).values()));
  }

  private _drawMemory(pen: Pen): void {
    const { dark, contrast } = pen.theme;
    const times = this._times();
    const layers = [...this._data.memoryAt(times)].map(
      ([version, bytes]) =>
        [faded(versionColour(version, dark), contrast ? 1 : 0.55), bytes] as const
    );
    pen.areas(times, layers);
  }

  private _mostRequests(): number {
    const { by, failed } = this._data.ratesIn(this._start, this._end);
    return Math.max(5, ...sumsOf([failed, ...by.values()]));
  }

  private _drawRequests(pen: Pen): void {
    const { dark } = pen.theme;
    const { at, by, failed } = this._data.ratesIn(this._start, this._end);
    const stacks: [string, number[]][] = [...by]
      .sort(([a], [b]) => compareVersions(a, b))
      .map(([version, counts]) => [faded(versionColour(version, dark), 0.75), counts]);
    stacks.push([failedColour(dark), failed]);
    at.forEach((second, i) => {
      const left = pen.x(second);
      const width = Math.max(1, pen.x(second + 1) - left - 1);
      let sum = 0;
      for (const [colour, counts] of stacks) {
        if (counts[i] > 0) {
          const bottom = pen.y(sum);
          sum += counts[i];
          const top = pen.y(sum);
          pen.context.fillStyle = colour;
          pen.context.fillRect(left, top, width, bottom - top);
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

  private _drawDots(pen: Pen): void {
    const { dark, contrast } = pen.theme;
    for (const [at, micros, version, code] of this._dots().tiles.flat()) {
      if (code !== 0) {
        drawFailed(pen, pen.x(at));
        continue;
      }
      pen.context.fillStyle = faded(versionColour(version ?? 0, dark), contrast ? 1 : 0.6);
      pen.square(pen.x(at), pen.y(micros), 2.5);
    }
  }

  private _point(time: number | null): void {
    this._cursor = time;
    const reach = this._span / 60;
    const lines = time === null ? this._data.lines.slice(-4) : this._data.linesAt(time, reach);
    this._lines.replaceChildren(...lines.slice(-6).map(line => this._lineItem(line)));
  }

  private _lineItem({ kind, wall, text }: ILine): HTMLElement {
    const look = kind === 'decision' ? 'wb-decision' : '';
    return make('li', { class: look }, [make('span.wb-when', clockText(wall)), text]);
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

  private _secondsTable(): HTMLTableElement {
    const figure = (value: number | null | undefined, text: (value: number) => string) =>
      value === null || value === undefined ? '–' : text(value);
    const rows = [...this._data.seconds.values()]
      .filter(([second]) => second >= this._start - 1 && second <= this._end)
      .sort((a, b) => a[0] - b[0])
      .map(([second, version, answered, failed, p50, p99]) => {
        const memory = version === null ? null : this._data.memoryAt([second]).get(version)?.[0];
        return [
          this._timeText(second),
          String(version ?? '–'),
          String(answered),
          String(failed),
          figure(p50, durationText),
          figure(p99, durationText),
          figure(memory || null, bytesText)
        ];
      });
    const head = ['time', 'version', 'answered', 'failed', 'p50 up to', 'p99 up to', 'memory'];
    return dataTable('Visible time, second by second', head, rows);
  }
}
