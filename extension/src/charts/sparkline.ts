/** A line of a few dozen values, as tall as a line of text. */

import { make } from './elements';
import { pixelRatio, strokeLine } from './pen';
import { themeOf } from './theme';

const HEIGHT = 24;
const WIDTH = 120;

export class Sparkline {
  readonly node = make('canvas.wb-sparkline', {
    role: 'img',
    style: `width: ${WIDTH}px; height: ${HEIGHT}px`
  });
  private _drawn = '';

  /** Draw `values` (null: nothing was measured); `summary` is what a screen reader says. */
  draw(values: readonly (number | null)[], summary: string): void {
    const ratio = pixelRatio();
    const drawn = JSON.stringify([values, summary, ratio, document.body.dataset.jpThemeName]);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    this.node.width = WIDTH * ratio;
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
    strokeLine(context, [
      [0, HEIGHT - 1.5],
      [WIDTH, HEIGHT - 1.5]
    ]);
    context.strokeStyle = theme.soft;
    context.lineWidth = 1.5;
    const points = values.map((value, index) => {
      const x = (index / (values.length - 1)) * (WIDTH - 2) + 1;
      return [x, value === null ? null : HEIGHT - 2 - (value / most) * (HEIGHT - 4)] as const;
    });
    strokeLine(context, points);
  }
}
