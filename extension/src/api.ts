/** The routes of the server extension: their data, and a function each. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** A version as the server sees it; memory is in bytes, null where nobody has measured it. */
export interface IVersion {
  readonly version: number;
  readonly state: 'START' | 'LOADING' | 'AVAILABLE' | 'UNLOADING' | 'END';
  /** Why it failed to load; null where it did not. */
  readonly error: string | null;
  readonly memory_bytes: number | null;
}

export interface IModel {
  readonly name: string;
  /** Highest first. */
  readonly versions: readonly IVersion[];
}

export interface IServer {
  readonly name: string;
  /** The data plane's address; requests to it carry a token that is not told here. */
  readonly url: string;
  /** Unreachable: its server process does not answer now, and its supervisor restarts it. */
  readonly state: 'running' | 'unreachable';
  readonly memory_bytes: number | null;
  readonly models: readonly IModel[];
}

/** All running servers of this user, oldest first. */
export async function listServers(settings: ServerConnection.ISettings): Promise<IServer[]> {
  // A poll is no activity: it must not keep a server alive that nobody uses.
  const answer = await request<{ servers: IServer[] }>(settings, 'servers?no_track_activity=1');
  return answer.servers;
}

/** Stop a server; resolves when it has ended. One that has ended already is stopped. */
export async function stopServer(
  settings: ServerConnection.ISettings,
  name: string
): Promise<void> {
  try {
    await request<void>(settings, `servers/${encodeURIComponent(name)}`, 'DELETE');
  } catch (error) {
    if (!(error instanceof ServerConnection.ResponseError && error.response.status === 404)) {
      throw error;
    }
  }
}

/** See to it that the quickstart notebook lies in the user's files; resolves to its path. */
export async function ensureQuickstart(settings: ServerConnection.ISettings): Promise<string> {
  return (await request<{ path: string }>(settings, 'quickstart', 'POST')).path;
}

async function request<T>(
  settings: ServerConnection.ISettings,
  route: string,
  method = 'GET'
): Promise<T> {
  const url = URLExt.join(settings.baseUrl, 'workbench/api', route);
  const response = await ServerConnection.makeRequest(url, { method }, settings);
  if (!response.ok) {
    throw await ServerConnection.ResponseError.create(response);
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}
