/** A comparison of transition policies: advice, runs side by side, and tables. All data comes with the
 * widget, so no kernel is needed. */

import { button, dataTable, make } from '../../charts/elements';
import type { IModel } from '../../protocol/link';
import { TransitionPanel } from './transition_panel';
import { SharedAxes, sinceText, type IRun } from './transitions_data';

interface IAbout {
  title: string;
  advice: string;
  view: [number, number];
  runs: IRun[];
  tables: { heading: string; columns: string[]; rows: string[][]; footnote: string }[];
}

let made = 0;

export class TransitionsView {
  private readonly _axes: SharedAxes;
  private readonly _panels: TransitionPanel[] = [];
  private readonly _seen = make('span', { class: 'wb-soft', role: 'status' });

  constructor(node: HTMLElement, model: IModel) {
    const about = model.get('about') as IAbout;
    this._axes = new SharedAxes(about.runs, about.view);
    const panels = make('div', {
      class: 'wb-charts wb-panels',
      tabindex: '0',
      role: 'group',
      'aria-label':
        'Runs. Left and right arrows move in time, plus and minus zoom, Home shows the transition.'
    });
    const shown = make('div', { class: 'wb-bar', role: 'group', 'aria-label': 'Policies to show' });
    node.append(
      make(
        'div',
        { class: 'wb-head' },
        make('span', { class: 'wb-name' }, 'Transitions compared'),
        make('span', { class: 'wb-soft' }, about.title)
      ),
      make('div', { class: 'wb-section wb-advice' }, about.advice),
      make('div', { class: 'wb-section' }, shown, make('div', { class: 'wb-container' }, panels)),
      make('div', { class: 'wb-section' }, ...about.tables.flatMap(table => tableOf(table)))
    );
    const key = `wb-transitions-${(made += 1)}`;
    for (const run of about.runs) {
      this._panels.push(
        new TransitionPanel(panels, run, this._axes, key, time => this._point(time))
      );
    }
    this._panels.forEach((panel, i) => {
      const box = make('input', { type: 'checkbox' });
      box.checked = true;
      box.addEventListener('change', () => {
        panel.node.hidden = !box.checked;
      });
      shown.append(make('label', {}, box, about.runs[i].title));
    });
    this._seen.classList.add('wb-end');
    this._seen.title = 'Time shown, in seconds since the new version was requested';
    shown.append(
      this._seen,
      button('−', 'Show more time (-)', () => this._act(() => this._axes.zoom(2))),
      button('+', 'Show less time (+)', () => this._act(() => this._axes.zoom(0.5))),
      button('Transition', 'Show the transition (Home)', () => this._act(() => this._axes.reset()))
    );
    this._listen(panels);
    this._act(() => {});
  }

  dispose(): void {
    for (const panel of this._panels) {
      panel.dispose();
    }
  }

  private _act(change: () => void): void {
    change();
    const { start, end, span } = this._axes;
    this._seen.textContent = `${sinceText(start, span)} to ${sinceText(end, span)}`;
    for (const panel of this._panels) {
      panel.update();
    }
  }

  private _point(time: number | null): void {
    // uPlot draws the pointer's own line; only the text below each run changes.
    this._axes.moment = time;
    for (const panel of this._panels) {
      panel.tell();
    }
  }

  private _listen(panels: HTMLElement): void {
    const keys: Record<string, () => void> = {
      ArrowLeft: () => this._axes.step(-0.02),
      ArrowRight: () => this._axes.step(0.02),
      Home: () => this._axes.reset(),
      '+': () => this._axes.zoom(0.5, this._axes.moment ?? undefined),
      '=': () => this._axes.zoom(0.5, this._axes.moment ?? undefined),
      '-': () => this._axes.zoom(2, this._axes.moment ?? undefined)
    };
    panels.addEventListener('keydown', event => {
      const act = keys[event.key];
      if (act !== undefined) {
        this._act(act);
        event.preventDefault();
        event.stopPropagation();
      }
    });
    const under = (target: EventTarget | null) =>
      this._panels.find(panel => panel.node.contains(target as Node));
    panels.addEventListener(
      'wheel',
      event => {
        const panel = under(event.target);
        // Scrolling without a modifier key scrolls the page.
        if (panel !== undefined && (event.ctrlKey || event.metaKey)) {
          const around = panel.timeAt(event.clientX);
          this._act(() => this._axes.zoom(event.deltaY > 0 ? 1.25 : 0.8, around));
          event.preventDefault();
        }
      },
      { passive: false }
    );
    let from: number | null = null;
    let held: TransitionPanel | undefined;
    panels.addEventListener('pointerdown', event => {
      held = under(event.target);
      from = held === undefined ? null : event.clientX;
    });
    panels.addEventListener('pointermove', event => {
      if (from !== null && held !== undefined && Math.abs(event.clientX - from) > 2) {
        panels.setPointerCapture(event.pointerId);
        const share = (from - event.clientX) / Math.max(1, held.plotWidth);
        this._act(() => this._axes.pan(share));
        from = event.clientX;
      }
    });
    for (const name of ['pointerup', 'pointercancel'] as const) {
      panels.addEventListener(name, () => {
        from = null;
      });
    }
  }
}

function tableOf(table: IAbout['tables'][number]): HTMLElement[] {
  const caption = table.heading || 'Median of the runs of each policy';
  return [
    make('div', { class: 'wb-scroll' }, dataTable(caption, ['', ...table.columns], table.rows)),
    make('p', { class: 'wb-soft wb-foot' }, table.footnote)
  ];
}
