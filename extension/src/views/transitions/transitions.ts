/** A comparison of transition policies: advice, runs side by side, and tables. All data comes with the
 * widget, so no kernel is needed. */

import { button, dataTable, make, onKeys } from '../../charts/elements';
import { navigate } from '../../charts/navigation';
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
  private readonly _seen = make('span.wb-soft.wb-end', {
    role: 'status',
    title: 'Time shown, in seconds since the new version was requested'
  });

  constructor(node: HTMLElement, model: IModel) {
    const about = model.get('about') as IAbout;
    this._axes = new SharedAxes(about.runs, about.view);
    const panels = make('div.wb-charts.wb-panels', {
      tabindex: '0',
      role: 'group',
      'aria-label':
        'Runs. Left and right arrows move in time, plus and minus zoom, Home shows the transition.'
    });
    const shown = make('div.wb-bar', { role: 'group', 'aria-label': 'Policies to show' });
    node.append(
      make('div.wb-head', [
        make('span.wb-name', 'Transitions compared'),
        make('span.wb-soft', about.title)
      ]),
      make('div.wb-section.wb-advice', about.advice),
      make('div.wb-section', [shown, make('div.wb-container', panels)]),
      make(
        'div.wb-section',
        about.tables.flatMap(table => tableOf(table))
      )
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
      shown.append(make('label', [box, about.runs[i].title]));
    });
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
    this._panels.forEach(panel => panel.dispose());
  }

  private _act(change: () => void): void {
    change();
    const { start, end, span } = this._axes;
    this._seen.textContent = `${sinceText(start, span)} to ${sinceText(end, span)}`;
    this._panels.forEach(panel => panel.update());
  }

  private _point(time: number | null): void {
    // uPlot draws the pointer's own line; only the text below each run changes.
    this._axes.moment = time;
    this._panels.forEach(panel => panel.tell());
  }

  private _listen(panels: HTMLElement): void {
    const act = (change: () => void) => () => this._act(change);
    const zoom = (factor: number) =>
      act(() => this._axes.zoom(factor, this._axes.moment ?? undefined));
    onKeys(panels, {
      ArrowLeft: act(() => this._axes.step(-0.02)),
      ArrowRight: act(() => this._axes.step(0.02)),
      Home: act(() => this._axes.reset()),
      '+': zoom(0.5),
      '=': zoom(0.5),
      '-': zoom(2)
    });
    navigate(
      panels,
      target => this._panels.find(panel => panel.node.contains(target as Node))?.plot,
      (factor, around) => this._act(() => this._axes.zoom(factor, around)),
      share => this._act(() => this._axes.pan(share))
    );
  }
}

function tableOf(table: IAbout['tables'][number]): HTMLElement[] {
  const caption = table.heading || 'Median of the runs of each policy';
  return [
    make('div.wb-scroll', [dataTable(caption, ['', ...table.columns], table.rows)]),
    make('p.wb-soft.wb-foot', table.footnote)
  ];
}
