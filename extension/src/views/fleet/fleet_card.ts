/** The card of a fleet: the kernel writes it, the page keeps it up to date. */

import { make } from '../../charts/elements';
import { Link, type IModel } from '../../protocol/link';
import { AsOf } from '../as_of';

export class FleetCardView {
  private readonly _link: Link;
  private readonly _asOf = new AsOf();
  private readonly _body = make('div');
  private _html = '';

  constructor(node: HTMLElement, model: IModel) {
    node.append(this._body);
    this._link = new Link(model, node);
    this._asOf.follow(
      this._link,
      'fleet',
      message => this._news(message),
      () => this._body.classList.toggle('wb-unknown', this._asOf.end !== '')
    );
  }

  dispose(): void {
    this._link.dispose();
  }

  private _news(message: Record<string, unknown>): void {
    this._asOf.wall = message.wall as number;
    const html = message.html as string;
    if (html === this._html) {
      // A selection in the card stays.
      return;
    }
    this._html = html;
    const open = this._body.querySelector('details')?.open ?? false;
    // The kernel has escaped every text in it.
    this._body.innerHTML = html;
    this._body.querySelector('.wb-end')?.replaceWith(this._asOf.node);
    const details = this._body.querySelector('details');
    if (details !== null) {
      details.open = open;
    }
  }
}
