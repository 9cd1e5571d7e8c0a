/** A line of a few dozen values, as tall as a line of text. */

import { themeOf } from './theme';

const HEIGHT = 24;

export class Sparkline {
  readonly node = document.createElement('canvas');
  private _drawn = '';

  constructor(
    readonly width: number,
    private readonly _colour: (dark: boolean) => string
  ) {
    this.node.className = 'wb-sparkline';
    this.node.setAttribute('role', 'img');
    this.node.style.width = `${width}px`;
    this.node.style.height = `${HEIGHT}px`;
  }

  /** Draw `values` (null: nothing was measured); `summary` is what a screen reader says. */
  draw(values: readonly (number | null)[], summary: string): void {
    const ratio = window.devicePixelRatio || 1;
    const drawn = JSON.stringify([values, summary, ratio, document.body.dataset.jpThemeName]);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    this.node.width = this.width * ratio;
    this.node.height = HEIGHT * ratio;
    this.node.setAttribute('aria-label', summary);
    const context = this.node.getContext('2d');
    if (context === null || values.length < 2) {
      return;
    }
    const theme = themeOf(this.node);
    const most = Math.max(...values.map(value => value ?? 0), 1e-9);
    context.scale(ratio, ratio);
    context.strokeStyle = theme.grid;
    context.beginPath();
    context.moveTo(0, HEIGHT - 1.5);
    context.lineTo(this.width, HEIGHT - 1.5);
    context.stroke();
    context.strokeStyle = this._colour(theme.dark);
    context.lineWidth = 1.5;
    context.lineJoin = 'round';
    context.beginPath();
    let drawing = false;
    values.forEach((value, index) => {
      if (value === null) {
        drawing = false;
        return;
      }
      const x = (index / (values.length - 1)) * (this.width - 2) + 1;
      const y = HEIGHT - 2 - (value / most) * (HEIGHT - 4);
      if (drawing) {
        context.lineTo(x, y);
      } else {
        context.moveTo(x, y);
      }
      drawing = true;
    });
    context.stroke();
  }
}
