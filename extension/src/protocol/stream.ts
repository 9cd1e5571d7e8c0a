/** The WebSocket of live updates: open while the page is visible, reconnecting when lost. */

import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

export type Message = Record<string, unknown>;

/**
 * A connection that is open while there are wishes and the page is visible. A *wish* has a name and a
 * function that makes its message; the message is sent at once and after every reconnect, and can
 * say which updates have arrived already.
 */
export class Stream implements IDisposable {
  /** @param receive - called with each message. */
  constructor(
    private readonly _settings: ServerConnection.ISettings,
    private readonly _receive: (message: Message) => void
  ) {
    document.addEventListener('visibilitychange', this._onVisibility);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  wish(name: string, message: () => Message): void {
    this._wishes.set(name, message);
    if (this._socket?.readyState === WebSocket.OPEN) {
      this._socket.send(JSON.stringify(message()));
    } else {
      this._connect();
    }
  }

  /** Withdraw a wish and send `farewell`. The connection closes when no wish is left. */
  drop(name: string, farewell: Message): void {
    if (!this._wishes.delete(name)) {
      return;
    }
    if (this._wishes.size === 0) {
      this._close();
    } else if (this._socket?.readyState === WebSocket.OPEN) {
      this._socket.send(JSON.stringify(farewell));
    }
  }

  dispose(): void {
    this._isDisposed = true;
    document.removeEventListener('visibilitychange', this._onVisibility);
    this._wishes.clear();
    this._close();
  }

  private readonly _onVisibility = () => {
    if (document.hidden) {
      this._close();
    } else {
      this._pause = FIRST_PAUSE_MS;
      this._connect();
    }
  };

  private _connect(): void {
    if (this._socket !== null || this._wishes.size === 0 || document.hidden || this._isDisposed) {
      return;
    }
    window.clearTimeout(this._timer);
    const { wsUrl, token, appendToken, WebSocket: Socket } = this._settings;
    const query = appendToken && token ? `?token=${encodeURIComponent(token)}` : '';
    const socket = new Socket(URLExt.join(wsUrl, 'workbench/api/stream') + query);
    this._socket = socket;
    socket.onopen = () => {
      this._pause = FIRST_PAUSE_MS;
      for (const message of this._wishes.values()) {
        socket.send(JSON.stringify(message()));
      }
    };
    socket.onmessage = event => {
      if (this._socket === socket) {
        this._receive(JSON.parse(event.data as string) as Message);
      }
    };
    socket.onclose = () => {
      if (this._socket === socket) {
        this._socket = null;
        this._timer = window.setTimeout(() => this._connect(), this._pause);
        this._pause = Math.min(2 * this._pause, LONGEST_PAUSE_MS);
      }
    };
  }

  private _close(): void {
    window.clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    socket?.close();
  }

  private readonly _wishes = new Map<string, () => Message>();
  private _socket: WebSocket | null = null;
  private _timer = 0;
  private _pause = FIRST_PAUSE_MS;
  private _isDisposed = false;
}
