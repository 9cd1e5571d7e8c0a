/** What the plugins of this extension share. */

import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { IServer } from '../protocol/generated';

/** The running model servers, kept up to date. */
export interface IModelServers {
  /** All of them as last seen, oldest first. */
  readonly servers: readonly IServer[];
  /** Emitted when anything about them changes. */
  readonly changed: ISignal<IModelServers, void>;
  /** Whether the server of that name is stopping. */
  isStopping(name: string): boolean;
  /** Update the list now. */
  refresh(): Promise<void>;
  /** Stop a server, or dismiss a dead one; resolves when it has stopped. */
  stop(name: string): Promise<void>;
  /** Restart a dead server; resolves when it is ready. */
  restart(name: string): Promise<void>;
}

export const IModelServers = new Token<IModelServers>(
  'serving-workbench-lab:IModelServers',
  'The running model servers of this user.'
);

export namespace CommandIDs {
  export const openQuickstart = 'workbench:open-quickstart';
  export const openWelcome = 'workbench:open-welcome';
  export const openDashboard = 'workbench:open-dashboard';
  export const openGlossary = 'workbench:open-glossary';
  export const openConsole = 'workbench:open-console';
  export const serveFolder = 'workbench:serve-folder';
  export const stopServer = 'workbench:stop-server';
  export const restartServer = 'workbench:restart-server';
  export const refresh = 'workbench:refresh';
}
