/** The legend of a fleet's charts: the marks that occur, drawn as in the charts. */

import { make } from '../../charts/elements';
import { LINE_LOOKS, lineColour } from '../../charts/line_looks';
import { pixelRatio, strokeLine } from '../../charts/pen';
import { failedColour, faded, themeOf, type ITheme } from '../../charts/theme';
import { laneText, queueColour } from './fleet_chart';
import { phasesOf, type IFleet } from './fleet_data';
import { drawPhase } from './phase_marks';

const WIDTH = 22;
const HEIGHT = 12;

type Draw = (context: CanvasRenderingContext2D, theme: ITheme, ratio: number) => void;

export class FleetLegend {
  readonly node = make('div.wb-keys');

  show(fleet: IFleet): void {
    const signs: [string, Draw][] = [
      ['p50', line('p50')],
      ['p99', line('p99')],
      ...(fleet.latency.failed.some(Boolean) ? [['failed', cross] as [string, Draw]] : []),
      [laneText(fleet), area],
      ...phasesOf(fleet).map((phase): [string, Draw] => [
        phase,
        (context, theme, ratio) =>
          drawPhase(context, phase, [0, 0, WIDTH * ratio, HEIGHT * ratio], theme, ratio)
      ])
    ];
    this.node.replaceChildren(...signs.map(([text, draw]) => this._sign(text, draw)));
  }

  private _sign(text: string, draw: Draw): HTMLElement {
    const ratio = pixelRatio();
    const canvas = make('canvas', {
      width: String(WIDTH * ratio),
      height: String(HEIGHT * ratio),
      style: `width:${WIDTH}px;height:${HEIGHT}px`,
      'aria-hidden': 'true'
    });
    const context = canvas.getContext('2d');
    if (context !== null) {
      draw(context, themeOf(this.node), ratio);
    }
    return make('span.wb-sign', [canvas, text]);
  }
}

function line(name: 'p50' | 'p99'): Draw {
  return (context, theme, ratio) => {
    context.strokeStyle = lineColour(name, theme);
    context.lineWidth = 2 * ratio;
    context.setLineDash(LINE_LOOKS[name].dash.map(length => length * ratio));
    strokeLine(context, [
      [0, (HEIGHT / 2) * ratio],
      [WIDTH * ratio, (HEIGHT / 2) * ratio]
    ]);
  };
}

function cross(context: CanvasRenderingContext2D, theme: ITheme, ratio: number): void {
  const [x, y, size] = [(WIDTH / 2) * ratio, (HEIGHT / 2) * ratio, 2.5 * ratio];
  context.strokeStyle = failedColour(theme.dark);
  context.lineWidth = 1.2 * ratio;
  for (const slope of [1, -1]) {
    strokeLine(context, [
      [x - size, y - slope * size],
      [x + size, y + slope * size]
    ]);
  }
}

function area(context: CanvasRenderingContext2D, theme: ITheme, ratio: number): void {
  context.fillStyle = faded(queueColour(theme), 0.1);
  context.fillRect(0, 0, WIDTH * ratio, HEIGHT * ratio);
  context.fillStyle = faded(queueColour(theme), 0.85);
  context.fillRect(0, (HEIGHT / 2) * ratio, WIDTH * ratio, (HEIGHT / 2) * ratio);
}
