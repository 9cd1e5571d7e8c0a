/** The dashboard's connection to one model: updates from the stream, orders over REST. */

import { ServerConnection } from '@jupyterlab/services';

import { errorText } from '../charts/text';
import { type IDone, orderModel, stopServer } from '../protocol/api';
import type { IWire } from '../protocol/link';
import type { Message, Stream } from '../protocol/stream';
import type { IDeed } from './deed_code';

/** After so long without an update the Jupyter server is away or busy. */
const SILENT_MILLIS = 4000;
const CHECK_MILLIS = 1000;

interface IMarks {
  events: number;
  memory: number;
  traffic: number;
}

export class Feed {
  /**
   * @param seconds - how often there may be updates.
   * @param onDeed - called with the outcome of each order.
   * @param trust - asks whether to serve a folder that is not the user's own; gets the reason to ask.
   */
  constructor(
    private readonly _stream: Stream,
    private readonly _settings: ServerConnection.ISettings,
    readonly server: string,
    readonly model: string,
    private readonly _seconds: number,
    private readonly _onDeed: (deed: IDeed, done: { ok: boolean; text: string }) => void,
    private readonly _trust: (why: string) => Promise<boolean>
  ) {}

  /** A view's end of it. All are to be taken before `follow`. */
  wire(): IWire {
    const wire: IWire = {
      onNews: () => {},
      onSilence: () => {},
      silence: 'no update from the Jupyter server since',
      order: (op, values = {}) => this._order(op, values),
      dispose: () => {
        this._wires = this._wires.filter(other => other !== wire);
      }
    };
    this._wires.push(wire);
    return wire;
  }

  /** Subscribe to updates; after a pause, to those that were missed as well. */
  follow(): void {
    this._heard = performance.now();
    this._stream.wish('model', () => ({
      op: 'follow',
      server: this.server,
      model: this.model,
      seconds: this._seconds,
      marks: this._marks
    }));
    window.clearInterval(this._timer);
    this._timer = window.setInterval(() => this._check(), CHECK_MILLIS);
  }

  /** Stop the updates while the page is hidden. */
  rest(): void {
    window.clearInterval(this._timer);
    this._stream.drop('model', { op: 'leave', server: this.server, model: this.model });
  }

  /** A message of the stream that may be for this model. */
  receive(message: Message): void {
    if (message.server !== this.server || message.model !== this.model) {
      return;
    }
    this._heard = performance.now();
    this._check();
    if (message.kind === 'pulse') {
      const { seq, now } = message.pulse as { seq: number; now: number };
      this._marks = { events: seq, memory: now, traffic: now };
    } else {
      this._marks = null;
    }
    for (const wire of this._wires) {
      wire.onNews(message);
    }
  }

  dispose(): void {
    this.rest();
    this._wires = [];
  }

  private async _order(
    op: string,
    values: Record<string, unknown>
  ): Promise<{ ok: boolean; text: string }> {
    const { server, model } = this;
    let done: { ok: boolean; text: string };
    let meant = values;
    try {
      if (op === 'stop') {
        await stopServer(this._settings, server);
        done = { ok: true, text: `Server "${server}" has stopped.` };
      } else {
        const answer = await this._trusting(op, values);
        meant = answer.path === undefined ? values : { ...values, path: answer.path };
        done = { ok: true, text: answer.message };
      }
    } catch (error) {
      done = { ok: false, text: errorText(error) };
    }
    this._onDeed({ op, server, model, values: meant }, done);
    return done;
  }

  private async _trusting(op: string, values: Record<string, unknown>): Promise<IDone> {
    const ask = (asked: Record<string, unknown>) =>
      orderModel(this._settings, this.server, this.model, op, asked);
    try {
      return await ask(values);
    } catch (error) {
      const untrusted =
        op === 'publish' &&
        error instanceof ServerConnection.ResponseError &&
        error.response.status === 409;
      if (untrusted && (await this._trust(error.message))) {
        return ask({ ...values, trusted: true });
      }
      throw error;
    }
  }

  private _check(): void {
    const silent = !document.hidden && performance.now() - this._heard > SILENT_MILLIS;
    if (silent !== this._silent) {
      this._silent = silent;
      for (const wire of this._wires) {
        wire.onSilence(silent);
      }
    }
  }

  private _wires: IWire[] = [];
  private _marks: IMarks | null = null;
  private _heard = 0;
  private _silent = false;
  private _timer = 0;
}
