/** A device's memory as stacked bars: all of it, and below it the server's part magnified. */

import { make } from '../../charts/elements';
import { pixelRatio } from '../../charts/pen';
import { bytesText } from '../../charts/text';
import {
  faded,
  onThemeChange,
  processColour,
  themeOf,
  versionColour,
  type ITheme
} from '../../charts/theme';
import { hatch as drawHatch } from '../../charts/version_marks';
import {
  LEDGER_SHADES,
  OTHER_PROCESS,
  PROCESS_SHADES,
  UNATTRIBUTED,
  type IDevice,
  type IPart
} from '../../protocol/generated';
import { segmentAt, segmentsOf, type ISegment } from './ledger_data';

/** Above the upper bar: the budget's words, where its line is there. */
const WORDS = 20;
const TOP = 4;
const WHOLE = 18;
const BETWEEN = 18;
const LOWER = 30;
const BELOW = 18;
const FONT = '11px system-ui, sans-serif';
const shades: Readonly<Record<string, number>> = LEDGER_SHADES;
const roles: Readonly<Record<string, number>> = PROCESS_SHADES;

function shadeOfProcess(part: IPart): number {
  return part.kind === 'unattributed' ? UNATTRIBUTED : (roles[part.label] ?? OTHER_PROCESS);
}

/** How a part looks: its colour shows the version, hatching means estimated. */
function lookOf(part: IPart, theme: ITheme): { fill: string; hatch: string | null } {
  if (part.kind === 'free') {
    return { fill: theme.surface, hatch: null };
  }
  if (part.kind === 'reserved') {
    return { fill: theme.surface, hatch: theme.ink };
  }
  const fill =
    part.version !== null
      ? faded(versionColour(part.version, theme.dark), shades[part.kind] ?? 0.7)
      : faded(processColour(theme.dark), shadeOfProcess(part));
  return { fill, hatch: part.how === 'estimated' ? theme.surface : null };
}

/** Fill a rectangle as a part looks; also what a legend's swatch is drawn with. */
export function paint(
  context: CanvasRenderingContext2D,
  part: IPart,
  theme: ITheme,
  box: [number, number, number, number]
): void {
  const [left, , width, height] = box;
  const { fill, hatch } = lookOf(part, theme);
  for (const colour of [theme.surface, fill]) {
    context.fillStyle = colour;
    context.fillRect(...box);
  }
  if (hatch !== null && width > 1.5) {
    context.strokeStyle = hatch;
    context.globalAlpha = 0.6;
    context.lineWidth = 1;
    drawHatch(context, box, left - height - ((left - height) % 6), 6);
    context.globalAlpha = 1;
  }
}

/** One bar on the canvas: which bytes, and where. */
interface IRow {
  theme: ITheme;
  device: IDevice;
  /** Bytes that the whole width stands for. */
  scale: number;
  width: number;
  top: number;
  height: number;
}

export class LedgerBars {
  readonly node: HTMLElement;
  private readonly _canvas = make('canvas.wb-bars');
  private readonly _ends: (() => void)[];
  private _device: IDevice | null = null;
  private _asked: number | null = null;
  private _selected: string | null = null;
  private _lowerFrom = 0;

  /** @param onSelect called with the part under pointer or keyboard, or null. */
  constructor(
    host: HTMLElement,
    private readonly _onSelect: (part: IPart | null) => void
  ) {
    this.node = make('div.wb-ledger-device', { tabindex: '0', role: 'img' }, this._canvas);
    host.append(this.node);
    this.node.addEventListener('keydown', event => this._key(event));
    this._canvas.addEventListener('pointermove', event => this._point(event));
    this._canvas.addEventListener('pointerleave', () => this._select(null));
    this.node.addEventListener('blur', () => this._select(null));
    const observer = new ResizeObserver(() => this._draw());
    observer.observe(this.node);
    this._ends = [() => observer.disconnect(), onThemeChange(() => this._draw())];
  }

  /** @param asked bytes that one more version would need at most; null: nobody asked. */
  show(device: IDevice, asked: number | null): void {
    this._device = device;
    this._asked = asked;
    this.node.setAttribute(
      'aria-label',
      `${device.summary}. Left and right arrows move between parts.`
    );
    this._draw();
  }

  dispose(): void {
    this._ends.forEach(end => end());
    this.node.remove();
  }

  private _key(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined || this._device === null) {
      return;
    }
    const parts = this._device.parts;
    const at = parts.findIndex(part => part.label === this._selected);
    const next = at < 0 ? (step > 0 ? 0 : parts.length - 1) : at + step;
    this._select(parts[Math.min(parts.length - 1, Math.max(0, next))]);
    event.preventDefault();
    event.stopPropagation();
  }

  private _point(event: PointerEvent): void {
    if (this._device === null) {
      return;
    }
    const box = this._canvas.getBoundingClientRect();
    const lower = event.clientY - box.top > this._lowerFrom;
    const scale = (lower ? this._device.magnified_to : null) ?? this._device.total;
    const bytes = ((event.clientX - box.left) / box.width) * scale;
    this._select(segmentAt(segmentsOf(this._device.parts), bytes)?.part ?? null);
  }

  private _select(part: IPart | null): void {
    const label = part?.label ?? null;
    if (label !== this._selected) {
      this._selected = label;
      this._onSelect(part);
      this._draw();
    }
  }

  private _draw(): void {
    const device = this._device;
    const width = this.node.clientWidth;
    const context = this._canvas.getContext('2d');
    if (device === null || width === 0 || context === null) {
      return;
    }
    const { budget_at: at, magnified_to: zoom } = device;
    const inLower = zoom !== null && at !== null && at <= zoom;
    const top = at === null || inLower ? TOP : WORDS;
    const low = top + WHOLE + BETWEEN;
    const height = zoom === null ? top + WHOLE + TOP : low + LOWER + BELOW;
    this._lowerFrom = low - BETWEEN / 2;
    const ratio = pixelRatio();
    this._canvas.width = Math.round(width * ratio);
    this._canvas.height = Math.round(height * ratio);
    this._canvas.style.height = `${height}px`;
    const theme = themeOf(this.node);
    context.scale(ratio, ratio);
    context.font = FONT;
    context.textBaseline = 'middle';
    const segments = segmentsOf(device.parts);
    const whole = { theme, device, scale: device.total, width, top, height: WHOLE };
    this._bar(context, whole, segments);
    if (!inLower) {
      this._budget(context, whole, top - 11);
    }
    if (zoom === null) {
      this._ask(context, whole);
      return;
    }
    const edge = (zoom / device.total) * width;
    context.strokeStyle = theme.soft;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0.5, top + WHOLE);
    context.lineTo(0.5, low);
    context.moveTo(edge, top + WHOLE);
    context.lineTo(width - 0.5, low);
    context.stroke();
    const lower = { theme, device, scale: zoom, width, top: low, height: LOWER };
    this._bar(context, lower, segments);
    this._ask(context, lower);
    const below = low + LOWER + 11;
    const right = !inLower || (at ?? 0) < zoom / 2;
    context.fillStyle = theme.soft;
    context.textAlign = right ? 'right' : 'left';
    context.fillText(`magnified, up to ${bytesText(zoom)}`, right ? width : 0, below);
    if (inLower) {
      this._budget(context, lower, below);
    }
  }

  private _bar(
    context: CanvasRenderingContext2D,
    { theme, scale, width, top, height }: IRow,
    segments: readonly ISegment[]
  ): void {
    for (const { part, start, end } of segments) {
      if (start >= scale) {
        break;
      }
      const left = (start / scale) * width;
      const right = (Math.min(end, scale) / scale) * width;
      // A one-pixel gap between neighbours, where there is room.
      const gap = right - left > 3 ? 1 : 0;
      paint(context, part, theme, [left, top, right - left - gap, height]);
      if (theme.contrast) {
        context.strokeStyle = theme.ink;
        context.lineWidth = 1;
        context.strokeRect(left + 0.5, top + 0.5, right - left, height - 1);
      }
      if (part.label === this._selected) {
        context.strokeStyle = theme.ink;
        context.lineWidth = 2;
        context.strokeRect(left + 1, top + 1, Math.max(1, right - left - 2), height - 2);
      }
    }
    context.strokeStyle = theme.soft;
    context.lineWidth = 1;
    context.strokeRect(0.5, top + 0.5, width - 1, height - 1);
  }

  /** Frame what one more version would need at most, after what versions hold or have reserved. */
  private _ask(
    context: CanvasRenderingContext2D,
    { theme, device, scale, width, top, height }: IRow
  ): void {
    if (this._asked === null || this._asked <= 0) {
      return;
    }
    const left = (device.taken / scale) * width;
    const wide = Math.min((this._asked / scale) * width, width - left - 1);
    context.lineWidth = 2;
    for (const [colour, dash] of [
      [theme.surface, []],
      [theme.ink, [5, 3]]
    ] as const) {
      context.strokeStyle = colour;
      context.setLineDash(dash);
      context.strokeRect(left, top - 1, wide, height + 2);
    }
    context.setLineDash([]);
  }

  /** Draw the line up to which versions may grow. */
  private _budget(
    context: CanvasRenderingContext2D,
    { theme, device, scale, width, top, height }: IRow,
    words: number
  ): void {
    if (device.budget_at === null || device.limit === null) {
      return;
    }
    const x = Math.min(width - 1.5, Math.max(1.5, (device.budget_at / scale) * width));
    context.fillStyle = theme.surface;
    context.fillRect(x - 2.5, top - 4, 5, height + 8);
    context.fillStyle = theme.ink;
    context.fillRect(x - 1, top - 4, 2, height + 8);
    const left = device.limit - device.reserved;
    const said = left < 0 ? `${bytesText(-left)} beyond` : `${bytesText(left)} left`;
    const before = x > width / 2;
    context.textAlign = before ? 'right' : 'left';
    context.fillText(`budget ${bytesText(device.limit)}, ${said}`, x + (before ? 1 : -1), words);
  }
}
