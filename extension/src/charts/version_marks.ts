/** How versions are drawn in every chart over time: their states as bars, failed requests as
 * crosses. */

import { STATE_LOOKS } from '../protocol/generated';
import type { Version } from '../protocol/version';
import type { Pen } from './pen';
import { failedColour, faded, versionColour } from './theme';

/** A state that has a bar. */
export type ShownState = keyof typeof STATE_LOOKS;

interface ISpan {
  version: Version;
  state: ShownState;
  start: number;
  end: number;
}

/** Draw the states that versions had from `start` to `end`: a lane of `height` for each version. */
export function drawLanes(
  pen: Pen,
  spans: readonly ISpan[],
  versions: readonly Version[],
  [start, end]: [number, number],
  height: number
): void {
  pen.write('left', 'middle');
  for (const span of spans) {
    if (span.end >= start && span.start <= end) {
      const left = pen.x(Math.max(span.start, start));
      const right = pen.x(Math.min(span.end, end));
      const middle = pen.y(versions.indexOf(span.version));
      drawState(pen, span, [left, right], middle, height * pen.ratio);
    }
  }
}

/** A version was in a state from `left` to `right`; all lengths in pixels of the canvas. */
function drawState(
  { context, theme }: Pen,
  { version, state }: ISpan,
  [left, right]: [number, number],
  middle: number,
  height: number
): void {
  const colour = versionColour(version, theme.dark);
  const look: { opacity: number; hatch: string | null } = STATE_LOOKS[state];
  const top = middle - height / 2;
  const width = Math.max(1, right - left);
  context.fillStyle = faded(colour, look.opacity);
  context.fillRect(left, top, width, height);
  if (look.hatch !== null) {
    context.strokeStyle = faded(colour, 0.7);
    hatch(context, [left, top, width, height], left - height, 7, look.hatch === 'rising');
  }
  const word = state.toLowerCase();
  if (context.measureText(word).width + 12 < width) {
    const onColour = theme.dark ? '#111111' : '#ffffff';
    context.fillStyle = state === 'AVAILABLE' ? onColour : theme.ink;
    context.fillText(word, left + 6, middle + 1);
  }
}

/** Hatch a box with lines from `first`, every `step` pixels. */
export function hatch(
  context: CanvasRenderingContext2D,
  [left, top, width, height]: readonly [number, number, number, number],
  first: number,
  step: number,
  rising = true
): void {
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.beginPath();
  for (let x = first; x < left + width; x += step) {
    context.moveTo(x, rising ? top + height : top);
    context.lineTo(x + height, rising ? top : top + height);
  }
  context.stroke();
  context.restore();
}

/** A request that failed, below the top of the plot. */
export function drawFailed(pen: Pen, x: number): void {
  const [y, size] = [pen.top + 6 * pen.ratio, 2.5 * pen.ratio];
  pen.context.strokeStyle = failedColour(pen.theme.dark);
  pen.context.beginPath();
  pen.context.moveTo(x - size, y - size);
  pen.context.lineTo(x + size, y + size);
  pen.context.moveTo(x - size, y + size);
  pen.context.lineTo(x + size, y - size);
  pen.context.stroke();
}
