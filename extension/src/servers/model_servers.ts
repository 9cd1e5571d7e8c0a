/** The model servers, kept up to date by the Jupyter server. */

import type { ServerConnection } from '@jupyterlab/services';
import { JSONExt, type ReadonlyPartialJSONValue } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

import { listServers, restartServer, stopServer } from '../protocol/api';
import type { IServer } from '../protocol/generated';
import { Stream } from '../protocol/stream';
import type { IModelServers } from './tokens';

/** Seconds between two looks; also the default of the setting. */
export const REFRESH_SECONDS = 3;
const WISH = 'servers';

export class ModelServers implements IModelServers, IDisposable {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
    this._stream = new Stream(settings, message => {
      if (message.kind === 'servers') {
        this._set(message.servers as IServer[]);
      }
    });
    this.refreshSeconds = REFRESH_SECONDS;
  }

  get servers(): readonly IServer[] {
    return this._servers;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._stream.isDisposed;
  }

  /** Seconds between two looks while the page is visible. */
  set refreshSeconds(seconds: number) {
    this._stream.wish(WISH, () => ({ op: 'watch', value: true, seconds }));
  }

  isStopping(name: string): boolean {
    return this._stopping.has(name);
  }

  async refresh(): Promise<void> {
    this._set(await listServers(this._settings));
  }

  async stop(name: string): Promise<void> {
    if (this._stopping.has(name)) {
      return;
    }
    this._stopping.add(name);
    this._changed.emit();
    try {
      await stopServer(this._settings, name);
      this._set(this._servers.filter(server => server.name !== name));
    } finally {
      this._stopping.delete(name);
      this._changed.emit();
    }
  }

  async restart(name: string): Promise<void> {
    await restartServer(this._settings, name);
    await this.refresh();
  }

  dispose(): void {
    if (!this.isDisposed) {
      this._stream.dispose();
      Signal.clearData(this);
    }
  }

  private _set(servers: readonly IServer[]): void {
    const before = this._servers as unknown as ReadonlyPartialJSONValue;
    if (!JSONExt.deepEqual(before, servers as unknown as ReadonlyPartialJSONValue)) {
      this._servers = servers;
      this._changed.emit();
    }
  }

  private readonly _settings: ServerConnection.ISettings;
  private readonly _stream: Stream;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _stopping = new Set<string>();
  private _servers: readonly IServer[] = [];
}
