/** The status bar's item: how all model servers are; a click opens the dashboard. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { overview } from './describe';
import { statusIcons } from './icons';
import type { IModelServers } from './tokens';

export class StatusItem extends Widget {
  /** @param open - opens the dashboard. */
  constructor(
    private readonly _servers: IModelServers,
    open: () => void,
    private readonly _trans: TranslationBundle
  ) {
    super({ node: document.createElement('button') });
    this.node.setAttribute('type', 'button');
    this.addClass('wb-Status');
    this.addClass('jp-StatusBar-TextItem');
    this._icon.className = 'wb-Status-icon';
    this.node.append(this._icon, this._text);
    this.node.title = _trans.__('Model servers: open the dashboard');
    this.node.addEventListener('click', open);
    _servers.changed.connect(this._show, this);
    this._show();
  }

  private _show(): void {
    const { status, text } = overview(this._servers.servers, this._trans);
    this.node.hidden = status === null;
    if (status !== null && status !== this._status) {
      this._icon.replaceChildren();
      statusIcons[status].element({ container: this._icon, height: '12px', width: '12px' });
    }
    this._status = status;
    this._text.textContent = text;
    this.node.dataset.status = status ?? '';
  }

  private readonly _icon = document.createElement('span');
  private readonly _text = document.createElement('span');
  private _status: string | null = null;
}
