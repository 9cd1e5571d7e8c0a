/** The transition timeline as a live view. */

import { make } from '../../charts/elements';
import type { IWire } from '../../protocol/link';
import { AsOf } from '../as_of';
import { Dots } from './dots';
import { Timeline } from './timeline_chart';
import { DOTS_KEPT, TimelineData, type IPulse } from './timeline_data';

export interface ITimelineAbout {
  name: string;
  note: string;
}

export class LiveTimeline {
  private readonly _data = new TimelineData(new Dots(DOTS_KEPT));
  private readonly _chart: Timeline;
  private readonly _asOf = new AsOf();

  constructor(
    node: HTMLElement,
    about: ITimelineAbout,
    private readonly _link: IWire
  ) {
    const body = make('div.wb-section');
    node.append(
      make('div.wb-head', [
        make('span.wb-name', about.name),
        make('span.wb-soft', about.note),
        this._asOf.node
      ]),
      body
    );
    this._chart = new Timeline(body, this._data);
    this._asOf.follow(
      _link,
      'pulse',
      message => this._news(message),
      () => {}
    );
  }

  dispose(): void {
    this._link.dispose();
    this._chart.dispose();
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'pulse') {
      if (message.fresh === true) {
        this._data.clear();
      }
      this._data.add(message.pulse as IPulse);
      this._asOf.wall = this._data.wall;
      this._chart.update();
    }
  }
}
