/** How versions are drawn in every chart over time: their states as bars, failed requests as
 * crosses. */

import { STATE_LOOKS } from '../protocol/generated';
import type { Version } from '../protocol/version';
import { failedColour, faded, versionColour, type ITheme } from './theme';

/** A state that has a bar. */
export type ShownState = keyof typeof STATE_LOOKS;

/** A version was in a state from `left` to `right`; all lengths in pixels of the canvas. */
export function drawState(
  context: CanvasRenderingContext2D,
  theme: ITheme,
  { version, state }: { version: Version; state: ShownState },
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
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    context.strokeStyle = faded(colour, 0.7);
    context.beginPath();
    const rising = look.hatch === 'rising';
    for (let x = left - height; x < right; x += 7) {
      context.moveTo(x, rising ? top + height : top);
      context.lineTo(x + height, rising ? top : top + height);
    }
    context.stroke();
    context.restore();
  }
  const word = state.toLowerCase();
  if (context.measureText(word).width + 12 < width) {
    const onColour = theme.dark ? '#111111' : '#ffffff';
    context.fillStyle = state === 'AVAILABLE' ? onColour : theme.ink;
    context.fillText(word, left + 6, middle + 1);
  }
}

/** A request that failed. */
export function drawFailed(
  context: CanvasRenderingContext2D,
  theme: ITheme,
  x: number,
  y: number,
  size: number
): void {
  context.strokeStyle = failedColour(theme.dark);
  context.beginPath();
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x - size, y + size);
  context.lineTo(x + size, y - size);
  context.stroke();
}
