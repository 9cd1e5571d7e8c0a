/** The welcome page: the labs in order, a tick for each completed one, and the models being served. */

import type { Contents, ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { button, make, replaceKeeping } from '../charts/elements';
import { errorText } from '../charts/text';
import { listLabs } from '../protocol/api';
import type { ILab } from '../protocol/generated';
import { statusOf } from '../servers/describe';
import { statusIcon } from '../servers/icons';
import type { IModelServers } from '../servers/tokens';
import { doneCount, isLab, nextLab } from './progress';

/** What clicks in the page do. */
export interface IWelcomeActions {
  open(lab: string): void;
  /** Null where there is no dashboard. */
  dashboard: (() => void) | null;
  /** Null where there is no glossary. */
  glossary: (() => void) | null;
}

export class Welcome extends Widget {
  private readonly _list = make('ol.wb-Labs');
  private readonly _progress = make('progress.wb-Welcome-bar', { max: '1', value: '0' });
  private readonly _count = make('span.wb-Welcome-count', { role: 'status' });
  private readonly _served = make('div.wb-Welcome-served');
  private readonly _trouble = make('p.wb-Welcome-trouble', { role: 'alert' });
  private _labs: readonly ILab[] = [];
  private _drawn = '';
  private _asked = 0;

  constructor(
    private readonly _settings: ServerConnection.ISettings,
    private readonly _contents: Contents.IManager,
    private readonly _servers: IModelServers,
    private readonly _actions: IWelcomeActions,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('wb-Welcome');
    const trans = _trans;
    this._progress.setAttribute('aria-label', trans.__('Completed labs'));
    this._trouble.hidden = true;
    this.node.append(
      make('div.wb-Welcome-page', [
        make('h1', [trans.__('Serving Workbench')]),
        make('p.wb-Welcome-lead', [
          trans.__(
            'Learn model serving by doing it. Each lab teaches one idea in ten to twenty minutes, ' +
              'with models that it trains itself. Start at the top.'
          )
        ]),
        this._served,
        make('div.wb-Welcome-head', [
          make('h2', { id: 'wb-labs' }, [trans.__('Labs')]),
          this._progress,
          this._count
        ]),
        this._trouble,
        this._list
      ])
    );
    this._list.setAttribute('aria-labelledby', 'wb-labs');
    _contents.fileChanged.connect(this._onFile, this);
    _servers.changed.connect(this._showServed, this);
    // A lab may also be run in another page or in a terminal.
    window.addEventListener('focus', this._onFocus);
    this._showServed();
  }

  dispose(): void {
    window.removeEventListener('focus', this._onFocus);
    this._contents.fileChanged.disconnect(this._onFile, this);
    this._servers.changed.disconnect(this._showServed, this);
    super.dispose();
  }

  /** Ask which labs were completed, and show it. */
  async refresh(): Promise<void> {
    const asked = (this._asked += 1);
    try {
      const labs = await listLabs(this._settings);
      // Answers may overtake each other: only the latest request's counts.
      if (!this.isDisposed && asked === this._asked) {
        this._trouble.hidden = true;
        this._labs = labs;
        this._showLabs();
      }
    } catch (error) {
      if (!this.isDisposed) {
        this._trouble.textContent = this._trans.__('Cannot list the labs: %1', errorText(error));
        this._trouble.hidden = false;
      }
    }
  }

  protected onAfterShow(_message: Message): void {
    void this.refresh();
  }

  protected onActivateRequest(_message: Message): void {
    const first = this._list.querySelector<HTMLElement>('[aria-current]');
    (first ?? this._list.querySelector<HTMLElement>('button'))?.focus();
  }

  private readonly _onFocus = (): void => {
    if (this.isVisible) {
      void this.refresh();
    }
  };

  private _onFile(_: unknown, change: Contents.IChangedArgs): void {
    const paths = [change.newValue?.path, change.oldValue?.path];
    if (paths.some(path => path !== undefined && isLab(this._labs, path))) {
      void this.refresh();
    }
  }

  private _showLabs(): void {
    const drawn = JSON.stringify(this._labs);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    const done = doneCount(this._labs);
    const next = nextLab(this._labs);
    this._progress.max = Math.max(1, this._labs.length);
    this._progress.value = done;
    this._count.textContent = this._trans.__('%1 of %2 completed', done, this._labs.length);
    const rows = this._labs.map(lab => this._lab(lab, lab.name === next));
    replaceKeeping(this._list, rows);
  }

  private _lab(lab: ILab, next: boolean): HTMLElement {
    const trans = this._trans;
    const words = {
      new: next ? trans.__('next') : '',
      begun: trans.__('started'),
      failed: trans.__('stopped by an error'),
      done: trans.__('completed'),
      unreadable: trans.__('unreadable')
    };
    const row = button('', lab.path ?? lab.name, () => this._actions.open(lab.name), 'wb-Lab');
    row.dataset.key = lab.name;
    row.dataset.state = lab.state;
    if (next) {
      row.setAttribute('aria-current', 'step');
    }
    const mark = lab.state === 'done' ? '✓' : '';
    row.append(
      make('span.wb-Lab-mark', { 'aria-hidden': 'true' }, mark),
      make('span.wb-Lab-number', [lab.name.slice(0, 2)]),
      make('span.wb-Lab-text', [
        make('span.wb-Lab-title', lab.title),
        make('span.wb-Lab-idea', lab.idea)
      ]),
      make('span.wb-Lab-state', words[lab.state])
    );
    return make('li', row);
  }

  private _showServed(): void {
    const trans = this._trans;
    const served = this._servers.servers.flatMap(server =>
      server.models.map(({ name, versions }) => ({
        model: name,
        server,
        latest: versions.find(each => each.state === 'AVAILABLE') ?? versions[0]
      }))
    );
    const items = served.map(({ model, server, latest }) => {
      const up = latest !== undefined && server.state === 'running';
      const icon = up ? [make('span.wb-Welcome-icon', statusIcon(statusOf(latest)))] : [];
      return make('span.wb-Welcome-model', [...icon, model]);
    });
    const { dashboard, glossary } = this._actions;
    this._served.replaceChildren(
      make(
        'span.wb-Welcome-now',
        items.length > 0 ? trans.__('Serving now:') : trans.__('No model is being served yet.')
      ),
      ...items,
      make('span.wb-Welcome-buttons', [
        ...openButton(
          trans.__('Glossary'),
          trans.__('Open the glossary of model serving'),
          glossary
        ),
        ...openButton(
          trans.__('Dashboard'),
          trans.__('Open the dashboard of model servers'),
          dashboard
        )
      ])
    );
  }
}

/** A button, unless there is nothing to open. */
function openButton(label: string, title: string, open: (() => void) | null): HTMLElement[] {
  return open === null ? [] : [button(label, title, open)];
}
