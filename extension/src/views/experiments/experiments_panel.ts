/** The dashboard's experiments: those under way with their progress, and the history to open. */

import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import {
  button,
  dataTable,
  make,
  StatusLine,
  replaceKeeping,
  showShare,
  tableHead
} from '../../charts/elements';
import { errorText } from '../../charts/text';
import { cancelExperiment, readExperiment } from '../../protocol/api';
import type {
  IExperiment,
  IExperiments,
  IFound,
  IRunningExperiment
} from '../../protocol/generated';
import { panel } from '../panel';

export class ExperimentsPanel {
  readonly node: HTMLElement;
  private readonly _running = make('div.wb-Running');
  private readonly _list = make('div.wb-scroll');
  private readonly _one = make('article.wb-Experiment', { hidden: '' });
  private readonly _message = new StatusLine();
  private readonly _rows = new Map<number, RunningRow>();
  private _shown: string | null = null;
  /** Which experiment is open, or being read. */
  private _open: number | null = null;

  /** @param insert - puts a cell into the notebook. */
  constructor(
    private readonly _settings: ServerConnection.ISettings,
    private readonly _insert: (code: string) => void,
    private readonly _trans: TranslationBundle
  ) {
    this.node = panel(
      _trans.__('Experiments'),
      'experiments',
      this._running,
      this._message.node,
      this._list,
      this._one
    );
  }

  show({ experiments, running }: IExperiments): void {
    this._showRunning(running);
    const known = experiments.map(experiment => experiment.number).join();
    if (known !== this._shown) {
      this._shown = known;
      this._showList(experiments);
    }
  }

  /** Update the rows in place, so that the keyboard focus stays. */
  private _showRunning(running: readonly IRunningExperiment[]): void {
    const numbers = new Set(running.map(each => each.number));
    for (const [number, row] of this._rows) {
      if (!numbers.has(number)) {
        this._rows.delete(number);
        row.node.remove();
        this._message.say('');
      }
    }
    for (const each of running) {
      let row = this._rows.get(each.number);
      if (row === undefined) {
        row = new RunningRow(each, () => void this._cancel(each.number), this._trans);
        this._rows.set(each.number, row);
        this._running.append(row.node);
      }
      row.show(each);
    }
  }

  private async _cancel(number: number): Promise<void> {
    try {
      this._message.say((await cancelExperiment(this._settings, number)).message);
    } catch (error) {
      this._message.say(errorText(error), false);
    }
  }

  private _showList(experiments: readonly IExperiment[]): void {
    const trans = this._trans;
    if (experiments.length === 0) {
      const text = trans.__(
        'No experiments yet. In a notebook, run server.sweep(rate=[100, 1000]) or server.compare_versions(1, 2, x).'
      );
      this._list.replaceChildren(make('p.wb-soft', text));
      return;
    }
    const words = [trans.__('kind'), trans.__('model'), trans.__('when'), trans.__('result')];
    const rows = experiments.map(experiment => this._row(experiment));
    replaceKeeping(this._list, [
      make('table', [tableHead(['', ...words, '']), make('tbody', rows)])
    ]);
  }

  private _row(experiment: IExperiment): HTMLElement {
    const trans = this._trans;
    const open = button(
      trans.__('Open'),
      trans.__('Open experiment %1: %2', experiment.number, experiment.kind),
      () => void this._read(experiment.number)
    );
    open.dataset.key = String(experiment.number);
    return make('tr', [
      make('td', String(experiment.number)),
      make('td', experiment.kind),
      make('td', experiment.model),
      make('td', whenText(experiment)),
      make('td.wb-Experiments-summary', experiment.summary),
      make('td', open)
    ]);
  }

  private async _read(number: number): Promise<void> {
    this._open = number;
    this._message.say(this._trans.__('Reading experiment %1 …', number));
    let found: IFound;
    try {
      found = await readExperiment(this._settings, number);
    } catch (error) {
      this._message.say(errorText(error), false);
      return;
    }
    // The user may have opened another one meanwhile.
    if (this._open === number) {
      this._message.say('');
      this._showOne(found);
    }
  }

  private _showOne(found: IFound): void {
    const trans = this._trans;
    const back = button(trans.__('All experiments'), trans.__('Back to all experiments'), () =>
      this._close(found.number)
    );
    const insert = button(
      trans.__('Insert into notebook'),
      trans.__('Insert a cell that loads this experiment'),
      () => this._insert(`import workbench as wb\n\nwb.load_experiment(${found.number})`)
    );
    const what = trans.__('Experiment %1: %2 of %3', found.number, found.kind, found.model);
    const when = whenText(found);
    const told = found.sentences.join(' ');
    this._one.replaceChildren(
      make('div.wb-controls', [back, insert]),
      make('h3', what),
      make('p.wb-soft', told.includes(found.summary) ? when : `${when}, ${found.summary}`),
      ...found.sentences.map(text => make('p', text)),
      make('img', { src: `data:image/png;base64,${found.picture}`, alt: told || found.summary }),
      ...found.tables.map(({ title, columns, rows }) =>
        make('div.wb-scroll', { tabindex: '0', role: 'group', 'aria-label': title || what }, [
          dataTable(title, columns, rows)
        ])
      )
    );
    this._one.setAttribute('aria-label', what);
    this._list.hidden = true;
    this._one.hidden = false;
    back.focus();
  }

  private _close(number: number): void {
    this._open = null;
    this._one.hidden = true;
    this._list.hidden = false;
    this._one.replaceChildren();
    this._list.querySelector<HTMLElement>(`[data-key="${number}"]`)?.focus();
  }
}

/** An experiment under way. */
class RunningRow {
  readonly node: HTMLElement;
  private readonly _bar = make('progress', { max: '1' });
  private readonly _text = make('span.wb-soft');
  private readonly _cancel: HTMLButtonElement;

  constructor(
    about: IRunningExperiment,
    cancel: () => void,
    private readonly _trans: TranslationBundle
  ) {
    const what = _trans.__('%1 of %2', about.kind, about.model);
    const where = about.server === about.model ? what : _trans.__('%1 on %2', what, about.server);
    this._bar.setAttribute('aria-label', where);
    const title = _trans.__('Cancel this experiment: %1', where);
    this._cancel = button(_trans.__('Cancel'), title, cancel);
    this.node = make('div.wb-controls', [
      make('strong', where),
      this._bar,
      this._text,
      this._cancel
    ]);
  }

  show(about: IRunningExperiment): void {
    showShare(this._bar, about.share);
    this._text.textContent = about.cancelled
      ? this._trans.__('cancelling after the current measurement')
      : about.text || this._trans.__('starting');
    this._cancel.disabled = about.cancelled;
  }
}

function whenText(experiment: IExperiment): string {
  return new Date(experiment.saved_at * 1000).toLocaleString();
}
