/** The age of a view's data, and why no more will come. */

import { make, say } from '../charts/elements';
import { clockText } from '../charts/text';
import type { IWire } from '../protocol/link';

export class AsOf {
  /** When the data was measured, in seconds since the epoch; 0 before the first update. */
  wall = 0;
  /** Whether updates have stopped. */
  silent = false;
  /** Why no update will follow; empty while they come. */
  end = '';
  private _ended = '';
  private readonly _time = make('span');
  // Screen readers announce only this part: the time changes with every update.
  private readonly _why = make('span', { role: 'status' });
  readonly node = make('span.wb-soft.wb-end', [this._time, this._why]);

  /** Follow a view's connection.
   *
   * @param alive - the kind of messages that only a running server sends.
   * @param news - called with each message, except that of the server's end.
   * @param changed - called after each message, and when updates stop or come again. */
  follow(
    link: IWire,
    alive: string,
    news: (message: Record<string, unknown>) => void,
    changed: () => void
  ): void {
    const update = (silent: boolean) => {
      this.silent = silent;
      this.end = this._ended || (silent ? link.silence : '');
      this._show();
      changed();
    };
    link.onNews = message => {
      if (message.kind === 'ended') {
        this._ended = String(message.text);
      } else {
        this._ended = message.kind === alive ? '' : this._ended;
        news(message);
      }
      update(false);
    };
    link.onSilence = update;
  }

  private _show(): void {
    const { wall, end } = this;
    say(this._time, wall === 0 ? '' : `as of ${clockText(wall)}`);
    say(this._why, wall === 0 || end === '' ? end : `, ${end}`);
    this.node.classList.toggle('wb-stale', end !== '');
  }
}
