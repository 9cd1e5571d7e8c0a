/** What a server does, as hatching: colour never carries a meaning alone. */

import { failedColour, faded, processColour, type ITheme } from '../../charts/theme';
import { hatch } from '../../charts/version_marks';
import type { MarkedPhase } from './fleet_data';

interface ILook {
  /** Whether the server is gone; otherwise it is on its way. */
  gone: boolean;
  fill: number;
  lines: readonly ('rising' | 'falling')[];
  dash: readonly number[];
}

const LOOKS: Record<MarkedPhase, ILook> = {
  starting: { gone: false, fill: 0.1, lines: ['rising'], dash: [] },
  slower: { gone: false, fill: 0, lines: ['rising'], dash: [1.5, 3] },
  draining: { gone: false, fill: 0, lines: ['falling'], dash: [] },
  away: { gone: false, fill: 0.28, lines: ['falling'], dash: [] },
  lost: { gone: true, fill: 0.14, lines: ['rising', 'falling'], dash: [] },
  silent: { gone: true, fill: 0.14, lines: ['rising', 'falling'], dash: [2, 2] }
};

const STEP = 7;

/** Mark a box of the canvas; lengths are canvas pixels, of which the page's has `ratio`. */
export function drawPhase(
  context: CanvasRenderingContext2D,
  phase: MarkedPhase,
  box: readonly [number, number, number, number],
  theme: ITheme,
  ratio: number
): void {
  const { gone, fill, lines, dash } = LOOKS[phase];
  const colour = gone ? failedColour(theme.dark) : processColour(theme.dark);
  const [left, top, width, height] = box;
  context.fillStyle = faded(colour, fill);
  context.fillRect(left, top, width, height);
  context.strokeStyle = faded(colour, theme.contrast ? 1 : 0.8);
  context.lineWidth = ratio;
  context.setLineDash(dash.map(length => length * ratio));
  for (const line of lines) {
    hatch(context, box, left - height, STEP * ratio, line === 'rising');
  }
  context.setLineDash([]);
}
