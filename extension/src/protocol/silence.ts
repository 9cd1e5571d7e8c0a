/** When a view was updated last, and what it does without an update. */

/** After so long without an update, the other end is busy or gone. */
const SILENT_MILLIS = 4000;
const CHECK_MILLIS = 1000;
const MOST_PAUSE_MILLIS = 60_000;

/** Notices when updates stop, and when they come again. */
export class Silence {
  private _heard = performance.now();
  private _silent = false;
  private _askAfter = CHECK_MILLIS;
  private _timer: ReturnType<typeof setInterval> | undefined;
  private readonly _expected: () => boolean;
  private readonly _changed: (silent: boolean) => void;
  private readonly _ask: () => void;

  /** @param expected - whether updates are expected now.
   * @param ask - called in a silence, at first often and then once a minute. */
  constructor(
    expected: () => boolean,
    changed: (silent: boolean) => void,
    ask: () => void = () => {}
  ) {
    this._expected = expected;
    this._changed = changed;
    this._ask = ask;
  }

  /** Expect updates from now on. */
  start(): void {
    this.stop();
    this._heard = performance.now();
    this._askAfter = CHECK_MILLIS;
    this._timer = setInterval(() => this._check(), CHECK_MILLIS);
  }

  stop(): void {
    clearInterval(this._timer);
  }

  /** An update has come, or has begun to be expected. */
  hear(): void {
    this._heard = performance.now();
    this._askAfter = SILENT_MILLIS;
    this._check();
  }

  private _check(): void {
    const quiet = this._expected() ? performance.now() - this._heard : 0;
    const silent = quiet > SILENT_MILLIS;
    if (silent !== this._silent) {
      this._silent = silent;
      this._changed(silent);
    }
    if (quiet >= this._askAfter) {
      this._askAfter += Math.min(this._askAfter, MOST_PAUSE_MILLIS);
      this._ask();
    }
  }
}
