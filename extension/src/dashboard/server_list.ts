/** The dashboard's left side: all servers with their models, one of which is selected. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { button, make, replaceKeeping } from '../charts/elements';
import { bytesText } from '../charts/text';
import type { IModel, IServer } from '../protocol/generated';
import { rateText, serverDetail, shown, stateText, statusOf } from '../servers/describe';
import { statusIcon } from '../servers/icons';

/** A model of a server. */
export interface ISelection {
  readonly server: string;
  readonly model: string;
}

/** What clicks in the list do. */
export interface IListActions {
  select(server: string, model: string): void;
  serve(): void;
  restart(server: string): void;
  forget(server: string): void;
  console(server: IServer): void;
  /** Null where there is no glossary. */
  glossary: (() => void) | null;
}

export class ServerList {
  readonly node: HTMLElement;
  private readonly _items = make('ul.wb-Servers');
  private readonly _none: HTMLElement;
  private _drawn = '';

  constructor(
    private readonly _actions: IListActions,
    private readonly _trans: TranslationBundle
  ) {
    this._none = make('p.wb-Servers-none', [
      _trans.__('No model server is running. Serve a folder, or run wb.serve(model) in a notebook.')
    ]);
    const buttons = [
      button(_trans.__('Serve…'), _trans.__('Serve a SavedModel or a folder of versions'), () =>
        _actions.serve()
      )
    ];
    if (_actions.glossary !== null) {
      const title = _trans.__('Open the glossary of model serving');
      buttons.unshift(button(_trans.__('Glossary'), title, _actions.glossary));
    }
    this.node = make('nav.wb-Dashboard-list', { 'aria-label': _trans.__('Model servers') }, [
      make('div.wb-Dashboard-listHead', [
        make('h2', [_trans.__('Model servers')]),
        make('div.wb-Dashboard-listButtons', buttons)
      ]),
      this._none,
      this._items
    ]);
  }

  show(
    servers: readonly IServer[],
    selected: ISelection | null,
    isStopping: (name: string) => boolean
  ): void {
    // Compare the texts, because the bytes differ in every answer.
    const told = servers.map(server => [server, isStopping(server.name)]);
    const drawn = JSON.stringify([told, selected], (key, value: unknown) =>
      key === 'memory_bytes' && typeof value === 'number' ? bytesText(value) : value
    );
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    this._none.hidden = servers.length > 0;
    replaceKeeping(
      this._items,
      servers.map(server => this._server(server, selected, isStopping(server.name)))
    );
  }

  private _server(server: IServer, selected: ISelection | null, stopping: boolean): HTMLElement {
    const trans = this._trans;
    const figures = [serverDetail(server, stopping, trans)];
    if (server.state === 'running' && !stopping) {
      figures.push(trans.__('%1/s', rateText(server.requests_per_second)));
    }
    const act = (what: string, label: string, onClick: () => void) => {
      const element = button(label, `${label}: ${server.name}`, onClick, 'wb-button wb-mod-small');
      element.dataset.key = `${what}/${server.name}`;
      return element;
    };
    const { restart, forget, console } = this._actions;
    const acts: HTMLElement[] = [];
    if (server.state === 'dead') {
      if (!server.cannot_restart) {
        acts.push(act('again', trans.__('Restart'), () => restart(server.name)));
      }
      acts.push(act('forget', trans.__('Dismiss'), () => forget(server.name)));
    } else if (server.kernel_id !== null) {
      acts.push(act('console', trans.__('Console'), () => console(server)));
    }
    const models = server.models.map(model => make('li', this._model(server, model, selected)));
    return make('li', { class: `wb-Server wb-mod-${server.state}` }, [
      make('div.wb-Server-head', [
        make('span.wb-Server-name', { title: server.url }, server.name),
        make('span.wb-Server-figures', figures.filter(text => text !== '').join(' · ')),
        ...acts
      ]),
      make('ul', models)
    ]);
  }

  private _model(server: IServer, model: IModel, selected: ISelection | null): HTMLElement {
    const versions = shown(model).map(version => {
      const status = statusOf(version);
      const memory = version.memory_bytes === null ? '' : `, ${bytesText(version.memory_bytes)}`;
      const state = stateText(version, this._trans);
      const attributes = {
        class: `wb-Model-version wb-mod-${status}`,
        title: version.error ?? `${state}${memory}`,
        'aria-label': `version ${version.version} ${state}`
      };
      return make('span', attributes, [statusIcon(status), String(version.version)]);
    });
    const element = make('button.wb-Model', { type: 'button' }, [
      make('span.wb-Model-name', model.name),
      ...versions
    ]);
    element.dataset.key = `${server.name}/${model.name}`;
    if (selected?.server === server.name && selected.model === model.name) {
      element.setAttribute('aria-current', 'true');
    }
    element.addEventListener('click', () => this._actions.select(server.name, model.name));
    return element;
  }
}
