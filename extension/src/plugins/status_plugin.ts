/** The status bar's item: the status of all model servers; a click opens the dashboard. */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { button, make } from '../charts/elements';
import { overview } from '../servers/describe';
import { statusIcon } from '../servers/icons';
import { CommandIDs, IModelServers } from '../servers/tokens';
import { plugin, runner } from './offer';

class StatusItem extends Widget {
  /** @param open - opens the dashboard. */
  constructor(
    private readonly _servers: IModelServers,
    open: () => void,
    private readonly _trans: TranslationBundle
  ) {
    const title = _trans.__('Model servers: open the dashboard');
    super({ node: button('', title, open, 'wb-Status jp-StatusBar-TextItem') });
    this.node.append(this._icon, this._text);
    _servers.changed.connect(this._show, this);
    this._show();
  }

  private _show(): void {
    const { status, text } = overview(this._servers.servers, this._trans);
    this.node.hidden = status === null;
    if (status !== null && status !== this._status) {
      this._icon.replaceChildren(statusIcon(status, 12));
    }
    this._status = status;
    this._text.textContent = text;
    this.node.dataset.status = status ?? '';
  }

  private readonly _icon = make('span');
  private readonly _text = make('span');
  private _status: string | null = null;
}

export const statusPlugin: JupyterFrontEndPlugin<void> = plugin(
  {
    name: 'status',
    description: 'Shows servers, requests per second and memory in the status bar.',
    requires: [IStatusBar, IModelServers],
    optional: []
  },
  (app, trans, bar, model) => {
    const open = () => void runner(app, CommandIDs.openDashboard)?.();
    bar.registerStatusItem(statusPlugin.id, {
      item: new StatusItem(model, open, trans),
      align: 'left',
      rank: 20
    });
  }
);
