/** The transition timeline as a live view. */

import { make } from '../../charts/elements';
import { Link, type IModel, type IWire } from '../../protocol/link';
import { AsOf } from '../as_of';
import { Dots } from './dots';
import { Timeline } from './timeline_chart';
import { DOTS_KEPT, TimelineData, type IPulse } from './timeline_data';

export class LiveTimeline {
  private readonly _data = new TimelineData(new Dots(DOTS_KEPT));
  private readonly _chart: Timeline;
  private readonly _asOf = new AsOf();
  private _ended = '';

  constructor(
    node: HTMLElement,
    about: { name: string; note: string },
    private readonly _link: IWire
  ) {
    const body = make('div', { class: 'wb-section' });
    node.append(
      make(
        'div',
        { class: 'wb-head' },
        make('span', { class: 'wb-name' }, about.name),
        make('span', { class: 'wb-soft' }, about.note),
        this._asOf.node
      ),
      body
    );
    this._chart = new Timeline(body, this._data);
    this._link.onNews = message => this._news(message);
    this._link.onSilence = silent => this._tell(silent);
  }

  dispose(): void {
    this._link.dispose();
    this._chart.dispose();
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'ended') {
      this._ended = String(message.text);
    } else if (message.kind === 'pulse') {
      this._ended = '';
      if (message.fresh === true) {
        this._data.clear();
      }
      this._data.add(message.pulse as IPulse);
      this._chart.update();
    }
    this._tell(false);
  }

  private _tell(silent: boolean): void {
    const end = this._ended || (silent ? this._link.silence : '');
    this._asOf.show(this._data.wall, end);
  }
}

/** The timeline in a notebook. */
export class TimelineView extends LiveTimeline {
  constructor(node: HTMLElement, model: IModel) {
    super(node, model.get('about') as { name: string; note: string }, new Link(model, node));
  }
}
