/** Devices one below the other: each with its summary, its bars, and a legend of its parts. */

import { make } from '../../charts/elements';
import { bytesText } from '../../charts/text';
import { onThemeChange, themeOf } from '../../charts/theme';
import type { IDevice, IPart } from '../../protocol/generated';
import { LedgerBars, paint } from './ledger_bars';

const SWATCH = 14;

/** Bytes in words, those of memory that was counted twice with their sign. */
export function amount(bytes: number): string {
  return bytes < 0 ? `−${bytesText(-bytes)}` : bytesText(bytes);
}

export class DeviceList {
  readonly node = make('div.wb-ledger');
  private readonly _shown = new Map<string, ShownDevice>();
  private readonly _endTheme = onThemeChange(() => this._draw());
  private _devices: readonly IDevice[] = [];
  private _asked: Readonly<Record<string, number>> = {};

  /** @param _onSelect - called with the part under pointer or keyboard, or null. */
  constructor(private readonly _onSelect: (part: IPart | null) => void = () => {}) {}

  /** @param asked - bytes that one more version would need at most, by device. */
  show(devices: readonly IDevice[], asked: Readonly<Record<string, number>> = {}): void {
    this._devices = devices;
    this._asked = asked;
    const names = new Set(devices.map(device => device.device));
    for (const [name, shown] of this._shown) {
      if (!names.has(name)) {
        shown.dispose();
        this._shown.delete(name);
      }
    }
    this._draw();
  }

  dispose(): void {
    this._endTheme();
    for (const shown of this._shown.values()) {
      shown.dispose();
    }
  }

  private _draw(): void {
    for (const device of this._devices) {
      let shown = this._shown.get(device.device);
      if (shown === undefined) {
        shown = new ShownDevice(device.device, this._onSelect);
        this._shown.set(device.device, shown);
        this.node.append(shown.node);
      }
      shown.show(device, this._asked[device.device] ?? null);
    }
  }
}

class ShownDevice {
  readonly node: HTMLElement;
  private readonly _summary = make('p.wb-device');
  private readonly _legend: HTMLElement;
  private readonly _bars: LedgerBars;

  constructor(name: string, onSelect: (part: IPart | null) => void) {
    this._legend = make('ul.wb-legend', { 'aria-label': `Parts of ${name}` });
    this.node = make('div', this._summary);
    this._bars = new LedgerBars(this.node, onSelect);
    this.node.append(this._legend);
  }

  show(device: IDevice, asked: number | null): void {
    this._summary.textContent = device.summary;
    this._bars.show(device, asked);
    this._legend.replaceChildren(...device.parts.map(part => this._legendItem(part)));
  }

  dispose(): void {
    this._bars.dispose();
    this.node.remove();
  }

  private _legendItem(part: IPart): HTMLElement {
    const ratio = devicePixelRatio || 1;
    const swatch = make('canvas.wb-swatch', { 'aria-hidden': 'true' });
    swatch.width = swatch.height = SWATCH * ratio;
    const context = swatch.getContext('2d');
    if (context !== null) {
      const theme = themeOf(this.node);
      context.scale(ratio, ratio);
      paint(context, part, theme, [0, 0, SWATCH, SWATCH]);
      context.strokeStyle = theme.soft;
      context.lineWidth = 1;
      context.strokeRect(0.5, 0.5, SWATCH - 1, SWATCH - 1);
    }
    return make('li', [
      swatch,
      make('span.wb-part', part.label),
      make('span.wb-figure', [amount(part.bytes)]),
      make('span.wb-soft', part.how)
    ]);
  }
}
