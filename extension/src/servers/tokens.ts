/** What the plugins of this extension share. */

import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { IServer } from '../protocol/api';

/** The running model servers, kept up to date. */
export interface IModelServers {
  /** All of them as they were last seen, oldest first. */
  readonly servers: readonly IServer[];
  /** Emitted when anything about them has changed. */
  readonly changed: ISignal<IModelServers, void>;
  /** Whether the server of that name has been asked to stop and has not ended yet. */
  isStopping(name: string): boolean;
  /** Look again now. */
  refresh(): Promise<void>;
  /** Stop a server, or forget one that is dead; resolves when it has ended. */
  stop(name: string): Promise<void>;
  /** Start a server again that is dead; resolves when it answers. */
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
  export const openConsole = 'workbench:open-console';
  export const serveFolder = 'workbench:serve-folder';
  export const stopServer = 'workbench:stop-server';
  export const restartServer = 'workbench:restart-server';
  export const refresh = 'workbench:refresh';
}
