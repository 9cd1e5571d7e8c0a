/** The dashboard's connection to one model: updates from the stream, orders over REST. */

import { ServerConnection } from '@jupyterlab/services';

import { errorText } from '../charts/text';
import { orderModel, Refusal, stopServer } from '../protocol/api';
import type { IDone } from '../protocol/generated';
import type { IOutcome, IWire } from '../protocol/link';
import { Silence } from '../protocol/silence';
import type { Message, Stream } from '../protocol/stream';
import type { IDeed } from './deed_code';

const PULSE_SECONDS = 0.2;

interface IMarks {
  events: number;
  memory: number;
  traffic: number;
}

export interface IFeedOptions {
  settings: ServerConnection.ISettings;
  stream: Stream;
  /** Called with the outcome of each order. */
  onDeed: (deed: IDeed, done: IOutcome) => void;
  /** Ask whether to serve a folder that is not the user's own; gets the reason to ask. */
  trust: (why: string) => Promise<boolean>;
}

export class Feed {
  private _wires: IWire[] = [];
  private _marks: IMarks | null = null;
  private readonly _silence = new Silence(
    () => !document.hidden,
    silent => this._wires.forEach(wire => wire.onSilence(silent))
  );

  constructor(
    readonly server: string,
    readonly model: string,
    private readonly _options: IFeedOptions
  ) {}

  /** A new view's connection. Take all of them before `follow`. */
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
    this._options.stream.wish('model', () => ({
      op: 'follow',
      server: this.server,
      model: this.model,
      seconds: PULSE_SECONDS,
      marks: this._marks
    }));
    this._silence.start();
  }

  /** Stop the updates while the page is hidden. */
  rest(): void {
    this._silence.stop();
    this._options.stream.drop('model', { op: 'leave', server: this.server, model: this.model });
  }

  /** A message of the stream that may be for this model. */
  receive(message: Message): void {
    if (message.server !== this.server || message.model !== this.model) {
      return;
    }
    this._silence.hear();
    if (message.kind === 'pulse') {
      const { seq, now } = message.pulse as { seq: number; now: number };
      this._marks = { events: seq, memory: now, traffic: now };
    } else {
      this._marks = null;
    }
    this._wires.forEach(wire => wire.onNews(message));
  }

  dispose(): void {
    this.rest();
    this._wires = [];
  }

  private async _order(op: string, values: Record<string, unknown>): Promise<IOutcome> {
    const { server, model } = this;
    let done: IOutcome;
    let meant = values;
    try {
      if (op === 'stop') {
        await stopServer(this._options.settings, server);
        done = { ok: true, text: `Server "${server}" has stopped.` };
      } else {
        const answer = await this._trusting(op, values);
        meant = answer.path === undefined ? values : { ...values, path: answer.path };
        done = { ok: true, text: answer.message };
      }
    } catch (error) {
      const reason = error instanceof Refusal ? error.reason : undefined;
      done = { ok: false, text: errorText(error), reason };
    }
    this._options.onDeed({ op, server, model, values: meant }, done);
    return done;
  }

  private async _trusting(op: string, values: Record<string, unknown>): Promise<IDone> {
    const ask = (asked: Record<string, unknown>) =>
      orderModel(this._options.settings, this.server, this.model, op, asked);
    try {
      return await ask(values);
    } catch (error) {
      const untrusted =
        op === 'publish' &&
        error instanceof Refusal &&
        error.response.status === 409 &&
        error.reason === undefined;
      if (untrusted && (await this._options.trust(error.message))) {
        return ask({ ...values, trusted: true });
      }
      throw error;
    }
  }
}
