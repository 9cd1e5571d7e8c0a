/** A widget's connection to the notebook's kernel: updates in, orders out. */

import { Silence } from './silence';

export interface IModel {
  get(name: string): unknown;
  on(name: string, callback: (...args: never[]) => void): void;
  off(name?: string | null, callback?: ((...args: never[]) => void) | null): void;
  send(content: unknown): void;
}

/** How an order went, in a sentence. */
export interface IOutcome {
  ok: boolean;
  text: string;
  /** Which refusal it is, for programs. */
  reason?: string;
}

/** The connection of a live view: updates in, orders out. A notebook's widget is connected to its
 * kernel (`Link`), the dashboard to the Jupyter server (`Feed`). */
export interface IWire {
  /** Called with each message that does not answer an order. */
  onNews: (message: Record<string, unknown>) => void;
  /** Called when updates stop, and when they come again. */
  onSilence: (silent: boolean) => void;
  /** The message shown when updates stop; the time of the last one precedes it. */
  readonly silence: string;
  /** Send an order; resolves to its outcome. */
  order(op: string, values?: Record<string, unknown>): Promise<IOutcome>;
  dispose(): void;
}

export class Link implements IWire {
  readonly silence = 'no update from the notebook’s kernel since';
  private readonly _ends: (() => void)[];
  private readonly _waiting = new Map<number, (answer: IOutcome) => void>();
  private _orders = 0;

  /** Called with each message that does not answer an order. */
  onNews: (message: Record<string, unknown>) => void = () => {};
  /** Called when updates stop, and when they come again. */
  onSilence: (silent: boolean) => void = () => {};

  constructor(
    private readonly _model: IModel,
    node: HTMLElement
  ) {
    // Hidden views get no updates. A widget may have several views, and each reports for itself.
    const view = `${Math.random()}`;
    let seen = true;
    const isSeen = () => seen && !document.hidden;
    let answered = false;
    const hello = () => {
      // Until the kernel has a subshell, JupyterLab sends to the main shell, where a message waits
      // for the cell that runs. So the first one is repeated.
      if (!answered) {
        this._model.send({ op: 'hello', view });
      }
    };
    const silence = new Silence(isSeen, silent => this.onSilence(silent), hello);
    const receive = (message: Record<string, unknown>) => {
      answered = true;
      silence.hear();
      this._receive(message);
    };
    const say = () => {
      silence.hear();
      this._model.send({ op: 'seen', view, value: isSeen() });
    };
    const observer = new IntersectionObserver(entries => {
      const now = entries[entries.length - 1].isIntersecting;
      if (now !== seen) {
        seen = now;
        say();
      }
    });
    this._model.on('msg:custom', receive);
    observer.observe(node);
    document.addEventListener('visibilitychange', say);
    silence.start();
    this._ends = [
      () => this._model.off('msg:custom', receive),
      () => silence.stop(),
      () => observer.disconnect(),
      () => document.removeEventListener('visibilitychange', say),
      () => this._model.send({ op: 'seen', view, value: false })
    ];
    hello();
  }

  /** Send an order; resolves to its outcome. */
  order(op: string, values: Record<string, unknown> = {}): Promise<IOutcome> {
    const id = (this._orders += 1);
    return new Promise(resolve => {
      this._waiting.set(id, resolve);
      this._model.send({ op, id, ...values });
    });
  }

  dispose(): void {
    this._ends.forEach(end => end());
    this._waiting.clear();
  }

  private _receive(message: Record<string, unknown>): void {
    if (message.kind === 'done') {
      const id = message.id as number;
      this._waiting.get(id)?.({
        ok: message.ok as boolean,
        text: message.text as string,
        reason: message.reason as string | undefined
      });
      this._waiting.delete(id);
      return;
    }
    this.onNews(message);
  }
}

/** Sends one value at a time, and only the latest of those that came meanwhile, so a slider's events
 * do not queue up. */
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
