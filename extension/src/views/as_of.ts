/** The age of a view's data, and why no more will come. */

import { make, say } from '../charts/elements';
import { clockText } from '../charts/text';

export class AsOf {
  readonly node: HTMLElement;
  private readonly _time = make('span', {});
  // Screen readers announce only this part: the time changes with every update.
  private readonly _end = make('span', { role: 'status' });

  constructor() {
    this.node = make('span', { class: 'wb-soft wb-end' }, this._time, this._end);
  }

  /** `wall` in seconds since the epoch, 0 before the first update; `end` says why none will follow. */
  show(wall: number, end: string): void {
    say(this._time, wall === 0 ? '' : `as of ${clockText(wall)}`);
    say(this._end, wall === 0 || end === '' ? end : `, ${end}`);
    this.node.classList.toggle('wb-stale', end !== '');
  }
}
