/** The running model servers, kept up to date by asking the Jupyter server again and again. */

import type { ServerConnection } from '@jupyterlab/services';
import { JSONExt, type ReadonlyPartialJSONValue } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';

import { type IServer, listServers, stopServer } from './api';
import type { IModelServers } from './tokens';

/** Seconds between two looks; also the default of the setting. */
export const REFRESH_SECONDS = 3;
const MAX_BACKOFF_MS = 60_000;

export class ModelServers implements IModelServers, IDisposable {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
    this._poll = new Poll({
      name: 'serving-workbench-lab:servers',
      factory: () => this._look(),
      frequency: { interval: REFRESH_SECONDS * 1000, backoff: true, max: MAX_BACKOFF_MS },
      standby: 'when-hidden'
    });
  }

  get servers(): readonly IServer[] {
    return this._servers;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /** Seconds between two looks while the page is visible. */
  set refreshSeconds(seconds: number) {
    this._poll.frequency = { interval: seconds * 1000, backoff: true, max: MAX_BACKOFF_MS };
  }

  isStopping(name: string): boolean {
    return this._stopping.has(name);
  }

  async refresh(): Promise<void> {
    await this._poll.refresh();
    await this._poll.tick;
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

  dispose(): void {
    if (!this.isDisposed) {
      this._poll.dispose();
      Signal.clearData(this);
    }
  }

  private async _look(): Promise<void> {
    this._set(await listServers(this._settings));
  }

  private _set(servers: readonly IServer[]): void {
    const before = this._servers as unknown as ReadonlyPartialJSONValue;
    if (!JSONExt.deepEqual(before, servers as unknown as ReadonlyPartialJSONValue)) {
      this._servers = servers;
      this._changed.emit();
    }
  }

  private readonly _settings: ServerConnection.ISettings;
  private readonly _poll: Poll;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _stopping = new Set<string>();
  private _servers: readonly IServer[] = [];
}
