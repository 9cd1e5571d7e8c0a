/** The dashboard: all servers on the left, one of their models on the right. */

import { Clipboard, Dialog, showDialog } from '@jupyterlab/apputils';
import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message as LuminoMessage } from '@lumino/messaging';
import { type ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { button, make } from '../charts/elements';
import type { IServer } from '../protocol/generated';
import type { IOutcome } from '../protocol/link';
import { Stream } from '../protocol/stream';
import type { IModelServers } from '../servers/tokens';
import { codeOf, type IDeed } from './deed_code';
import { Detail } from './detail';
import { type ISelection, ServerList } from './server_list';

export interface IDashboardActions {
  serve(): void;
  restart(server: string): void;
  console(server: IServer): void;
  /** Inserts a cell into the visible notebook; false if there is none. */
  insert(code: string): Promise<boolean>;
  /** Null where there is no glossary. */
  glossary: (() => void) | null;
}

export class Dashboard extends Widget {
  constructor(
    private readonly _servers: IModelServers,
    private readonly _settings: ServerConnection.ISettings,
    private readonly _actions: IDashboardActions,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('wb-Dashboard');
    this._stream = new Stream(_settings, message => this._detail?.receive(message));
    this._list = new ServerList(
      {
        select: (server, model) => this.select({ server, model }),
        serve: () => _actions.serve(),
        restart: server => _actions.restart(server),
        forget: server => void _servers.stop(server),
        console: server => _actions.console(server),
        glossary: _actions.glossary
      },
      _trans
    );
    this._deedBar.hidden = true;
    this._banner.hidden = true;
    this._body.append(this._banner, this._deedBar, this._empty);
    this.node.append(this._list.node, this._body, this._said);
    _servers.changed.connect(this._onServers, this);
    this._onServers();
  }

  get selection(): ISelection | null {
    return this._selection;
  }

  /** Emitted when another model is selected. */
  get selectionChanged(): ISignal<this, void> {
    return this._selectionChanged;
  }

  /** Show a model, as soon as it is served. */
  select(selection: ISelection): void {
    const same =
      this._selection?.server === selection.server && this._selection.model === selection.model;
    if (!same) {
      this._selection = selection;
      this._clear();
      this._selectionChanged.emit();
    }
    this._onServers();
  }

  /** Show the first model of a server. */
  selectServer(server: string): void {
    if (this._selection?.server !== server) {
      const found = this._servers.servers.find(other => other.name === server);
      this.select({ server, model: found?.models[0]?.name ?? server });
    }
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._servers.changed.disconnect(this._onServers, this);
      this._clear();
      this._stream.dispose();
      super.dispose();
    }
  }

  /** Show an action's outcome, and offer its cell. */
  tellDeed(deed: IDeed, done: IOutcome): void {
    this._say(done.text);
    const code = done.ok ? codeOf(deed) : null;
    if (code === null) {
      return;
    }
    const trans = this._trans;
    const insert = button(
      trans.__('Insert into notebook'),
      trans.__('Insert a cell that does the same below the active cell'),
      () => void this._insert(code)
    );
    this._deedBar.replaceChildren(
      make('span', done.text),
      button(trans.__('Copy as code'), trans.__('Copy a notebook cell that does the same'), () => {
        Clipboard.copyToSystem(code);
        this._say(trans.__('Copied.'));
      }),
      insert,
      button('×', trans.__('Hide this message'), () => {
        this._deedBar.hidden = true;
      })
    );
    this._deedBar.title = code;
    this._deedBar.hidden = false;
  }

  protected onAfterShow(message: LuminoMessage): void {
    super.onAfterShow(message);
    this._detail?.show();
  }

  protected onAfterAttach(message: LuminoMessage): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._detail?.show();
    }
  }

  protected onBeforeHide(message: LuminoMessage): void {
    this._detail?.hide();
    super.onBeforeHide(message);
  }

  private _onServers(): void {
    const { servers } = this._servers;
    if (this._selection === null) {
      const first = servers.find(server => server.models.length > 0);
      if (first !== undefined) {
        this.select({ server: first.name, model: first.models[0].name });
        return;
      }
    }
    const selected = this._selection;
    const server = servers.find(other => other.name === selected?.server);
    this._list.show(servers, selected, name => this._servers.isStopping(name));
    if (selected !== null && server !== undefined && server.state === 'running') {
      this._open(selected);
    }
    this._empty.hidden = this._detail !== null;
    this._empty.textContent =
      selected === null
        ? this._trans.__('No model is being served.')
        : this._trans.__('Server %1 is not running.', selected.server);
    this._showState(server);
  }

  private _open(selection: ISelection): void {
    if (this._detail !== null) {
      return;
    }
    this._detail = new Detail(selection.server, selection.model, {
      settings: this._settings,
      stream: this._stream,
      trans: this._trans,
      onDeed: (deed, done) => this.tellDeed(deed, done),
      trust: why => askForTrust(why, this._trans),
      insert: code => void this._insert(code)
    });
    this._body.append(this._detail.node);
    if (this.isVisible) {
      this._detail.show();
    }
  }

  /** Show at the top when the server is dead, unreachable or stopped. */
  private _showState(server: IServer | undefined): void {
    const trans = this._trans;
    const name = this._selection?.server ?? '';
    const state =
      server?.state ?? (this._detail !== null && this._selection !== null ? 'ended' : 'running');
    if (state === this._state) {
      return;
    }
    this._state = state;
    this._banner.hidden = state === 'running';
    this._banner.dataset.state = state;
    const words: Record<string, string> = {
      dead: server?.cannot_restart
        ? trans.__('Server %1 is dead and cannot be restarted. %2', name, server.cannot_restart)
        : trans.__(
            'Server %1 is dead: its processes were killed. It can be restarted with the same models.',
            name
          ),
      unreachable: trans.__('Server %1 is not answering and is being restarted.', name),
      ended: trans.__('Server %1 has stopped.', name)
    };
    this._banner.replaceChildren(make('span', words[state] ?? ''));
    if (state === 'dead' && !server?.cannot_restart) {
      this._banner.append(
        button(trans.__('Restart'), trans.__('Serve the same models on the same address'), () =>
          this._actions.restart(name)
        )
      );
    }
    if (state !== 'running') {
      this._say(words[state]);
    }
  }

  private async _insert(code: string): Promise<void> {
    if (await this._actions.insert(code)) {
      this._say(this._trans.__('Inserted the cell.'));
    } else {
      Clipboard.copyToSystem(code);
      this._say(this._trans.__('No notebook is open, so the cell was copied instead.'));
    }
  }

  private _clear(): void {
    this._detail?.dispose();
    this._detail = null;
    this._deedBar.hidden = true;
  }

  /** Announce to screen readers. */
  private _say(text: string): void {
    this._said.textContent = text;
  }

  private readonly _stream: Stream;
  private readonly _list: ServerList;
  private readonly _body = make('div.wb-Dashboard-body');
  private readonly _banner = make('div.wb-Dashboard-banner', { role: 'alert' });
  private readonly _deedBar = make('div.wb-Dashboard-deed');
  private readonly _empty = make('p.wb-Dashboard-empty');
  private readonly _said = make('div.wb-Dashboard-said', { role: 'status' });
  private readonly _selectionChanged = new Signal<this, void>(this);
  private _selection: ISelection | null = null;
  private _detail: Detail | null = null;
  private _state = '';
}

/** Ask whether to serve a folder that is not the user's own. */
export async function askForTrust(why: string, trans: TranslationBundle): Promise<boolean> {
  const answer = await showDialog({
    title: trans.__('Do you trust this model?'),
    body: trans.__(
      '%1 A SavedModel is a program: when served, it runs with your permissions.',
      // The server's message ends with advice of its own.
      why.replace(/\. A SavedModel is a program.*$/s, '.')
    ),
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('Serve it') })],
    defaultButton: 0
  });
  return answer.button.accept;
}
