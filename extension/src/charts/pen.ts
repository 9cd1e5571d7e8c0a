/** Drawing on a plot, at values of its axes. */

import type uPlot from 'uplot';

import type { ITheme } from './theme';

/** Canvas pixels per page pixel. */
export function pixelRatio(): number {
  return devicePixelRatio || 1;
}

/** Draws on a plot's canvas. `x` and `y` turn values into places on the canvas; sizes that methods take
 * are in pixels of the page. */
export class Pen {
  readonly ratio = pixelRatio();
  readonly context: CanvasRenderingContext2D;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;

  constructor(
    private readonly _plot: uPlot,
    readonly theme: ITheme
  ) {
    this.context = _plot.ctx;
    const { left, top, width, height } = _plot.bbox;
    [this.left, this.right, this.top, this.bottom] = [left, left + width, top, top + height];
  }

  x(value: number): number {
    return this._plot.valToPos(value, 'x', true);
  }

  y(value: number): number {
    return this._plot.valToPos(value, 'y', true);
  }

  /** Set the colour, width and dashes of the next lines. */
  stroke(colour: string, width = 1, dash: readonly number[] = []): void {
    this.context.strokeStyle = colour;
    this.context.lineWidth = width * this.ratio;
    this.context.setLineDash(dash.map(length => length * this.ratio));
  }

  /** Set the font and alignment of the next texts. */
  write(align: CanvasTextAlign, baseline: CanvasTextBaseline): void {
    this.context.font = `${11 * this.ratio}px system-ui, sans-serif`;
    this.context.textAlign = align;
    this.context.textBaseline = baseline;
  }

  /** A square around a point. */
  square(x: number, y: number, size: number): void {
    const side = size * this.ratio;
    this.context.fillRect(x - side / 2, y - side / 2, side, side);
  }

  /** A line from the top to the bottom. */
  upright(value: number): void {
    strokeLine(this.context, [
      [this.x(value), this.top],
      [this.x(value), this.bottom]
    ]);
  }

  /** A line through values, with gaps where they are null. */
  line(values: readonly (readonly [number, number | null])[]): void {
    strokeLine(
      this.context,
      values.map(([x, y]) => [this.x(x), y === null ? null : this.y(y)] as const)
    );
  }

  /** Areas on top of each other; each has a colour and a height at each of `xs`. */
  areas(xs: readonly number[], layers: Iterable<readonly [string, readonly number[]]>): void {
    const places = xs.map(x => this.x(x));
    const below = xs.map(() => 0);
    for (const [colour, heights] of layers) {
      this.context.beginPath();
      places.forEach((x, i) => this.context.lineTo(x, this.y(below[i] + heights[i])));
      for (let i = places.length - 1; i >= 0; i -= 1) {
        this.context.lineTo(places[i], this.y(below[i]));
        below[i] += heights[i];
      }
      this.context.closePath();
      this.context.fillStyle = colour;
      this.context.fill();
    }
  }
}

/** A line through points of the canvas, with gaps where there is no height. */
export function strokeLine(
  context: CanvasRenderingContext2D,
  points: readonly (readonly [number, number | null])[]
): void {
  context.lineJoin = 'round';
  context.beginPath();
  let drawing = false;
  for (const [x, y] of points) {
    if (y !== null) {
      context[drawing ? 'lineTo' : 'moveTo'](x, y);
    }
    drawing = y !== null;
  }
  context.stroke();
}
