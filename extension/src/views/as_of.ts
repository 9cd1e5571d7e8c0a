// How fresh a view is, and what has ended since.

import { make, say } from '../charts/elements';
import { clockText } from '../charts/text';

export class AsOf {
  readonly node: HTMLElement;
  private readonly _time = make('span', {});
  // Only this is read out to who listens: the time changes with every piece of news.
  private readonly _end = make('span', { role: 'status' });

  constructor() {
    this.node = make('span', { class: 'wb-soft wb-end' }, this._time, this._end);
  }

  /** `wall` in seconds since the epoch, 0 before the first news; `end` says that no more comes. */
  show(wall: number, end: string): void {
    say(this._time, wall === 0 ? '' : `as of ${clockText(wall)}`);
    say(this._end, wall === 0 || end === '' ? end : `, ${end}`);
    this.node.classList.toggle('wb-stale', end !== '');
  }
}
