/** The widget's wire to the notebook's kernel: news in, orders out, and whether it is still there. */

export interface IModel {
  get(name: string): unknown;
  on(name: string, callback: (...args: never[]) => void): void;
  off(name?: string | null, callback?: ((...args: never[]) => void) | null): void;
  send(content: unknown): void;
}

/** What a live view of a model hangs on: news in, orders out, and whether anybody is still there.
 * A notebook's widget has a kernel at the other end (`Link`), the dashboard the Jupyter server. */
export interface IWire {
  /** Called with each message that is no answer to an order. */
  onNews: (message: Record<string, unknown>) => void;
  /** Called when the other end falls silent, and when it is heard again. */
  onSilence: (silent: boolean) => void;
  /** What it means when it is silent, in words that a time follows or none. */
  readonly silence: string;
  /** Have something done; the promise is kept when it is said how that went. */
  order(op: string, values?: Record<string, unknown>): Promise<{ ok: boolean; text: string }>;
  dispose(): void;
}

/** Without any news for so long the kernel is busy, or gone. */
const SILENT_MILLIS = 4000;

export class Link implements IWire {
  readonly silence = 'no update from the notebook’s kernel since';
  private readonly _ends: (() => void)[] = [];
  private _heard = performance.now();
  private _silent = false;
  private _orders = 0;
  private readonly _waiting = new Map<number, (answer: { ok: boolean; text: string }) => void>();

  /** Called with each message that is no answer to an order. */
  onNews: (message: Record<string, unknown>) => void = () => {};
  /** Called when the kernel falls silent, and when it is heard again. */
  onSilence: (silent: boolean) => void = () => {};

  constructor(
    private readonly _model: IModel,
    node: HTMLElement
  ) {
    const receive = (message: Record<string, unknown>) => this._receive(message);
    this._model.on('msg:custom', receive);
    this._ends.push(() => this._model.off('msg:custom', receive));
    const timer = setInterval(() => this._check(), 1000);
    this._ends.push(() => clearInterval(timer));
    // What nobody looks at costs nothing. A widget may have several views: each speaks for itself.
    const view = `${Math.random()}`;
    let seen = true;
    const say = () => {
      this._heard = performance.now();
      this._model.send({ op: 'seen', view, value: seen && !document.hidden });
    };
    const observer = new IntersectionObserver(entries => {
      const now = entries[entries.length - 1].isIntersecting;
      if (now !== seen) {
        seen = now;
        say();
      }
    });
    observer.observe(node);
    document.addEventListener('visibilitychange', say);
    this._ends.push(() => {
      observer.disconnect();
      document.removeEventListener('visibilitychange', say);
      this._model.send({ op: 'seen', view, value: false });
    });
    this._isSeen = () => seen && !document.hidden;
    this._model.send({ op: 'hello', view });
  }

  private readonly _isSeen: () => boolean;

  /** Have the kernel do something; the promise is kept when it says how that went. */
  order(op: string, values: Record<string, unknown> = {}): Promise<{ ok: boolean; text: string }> {
    const id = (this._orders += 1);
    return new Promise(resolve => {
      this._waiting.set(id, resolve);
      this._model.send({ op, id, ...values });
    });
  }

  dispose(): void {
    for (const end of this._ends) {
      end();
    }
    this._waiting.clear();
  }

  private _receive(message: Record<string, unknown>): void {
    this._heard = performance.now();
    this._check();
    if (message.kind === 'done') {
      const id = message.id as number;
      this._waiting.get(id)?.({ ok: message.ok as boolean, text: message.text as string });
      this._waiting.delete(id);
      return;
    }
    this.onNews(message);
  }

  private _check(): void {
    const silent = this._isSeen() && performance.now() - this._heard > SILENT_MILLIS;
    if (silent !== this._silent) {
      this._silent = silent;
      this.onSilence(silent);
    }
  }
}

/** Sends only the last of many values, and only while none is on its way: a flood of a slider's
 * events leaves one value applied and none queued. */
export class Latest<T> {
  private _next: { value: T } | null = null;
  private _busy = false;

  constructor(private readonly _send: (value: T) => Promise<unknown>) {}

  push(value: T): void {
    this._next = { value };
    if (!this._busy) {
      void this._run();
    }
  }

  private async _run(): Promise<void> {
    this._busy = true;
    while (this._next !== null) {
      const { value } = this._next;
      this._next = null;
      await this._send(value);
    }
    this._busy = false;
  }
}
