/** The routes of the server extension: their data, and a function each. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { IDevice, LabState, PublicState } from './generated';
import type { Version } from './version';

type Settings = ServerConnection.ISettings;

// Polling must not count as activity, or an unused server would never be culled.
const QUIETLY = 'no_track_activity=1';

/** A version as the server reports it; memory is in bytes, null if it was not measured. */
export interface IVersion {
  readonly version: Version;
  readonly state: PublicState;
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
  /** The data plane's address; requests to it need a token that is not sent to the page. */
  readonly url: string;
  /** The Jupyter kernel that supervises it; null where none does. */
  readonly kernel_id: string | null;
  /** Unreachable: its process does not answer, and its supervisor restarts it. Dead: it was killed
   * with its supervisor. */
  readonly state: 'running' | 'unreachable' | 'dead';
  /** Of a dead one: why it cannot be started again; null where it can. */
  readonly cannot_restart?: string | null;
  readonly memory_bytes: number | null;
  /** What its versions may have of the host's memory together; null where that is not known. */
  readonly budget_bytes: number | null;
  readonly requests_per_second: number;
  readonly models: readonly IModel[];
}

/** All running servers of this user, oldest first. */
export const listServers = async (settings: Settings) =>
  (await request<{ servers: IServer[] }>(settings, `servers?${QUIETLY}`)).servers;

/** Stop a server; resolves when it has stopped, also if it had stopped before. */
export async function stopServer(settings: Settings, name: string): Promise<void> {
  try {
    await request<void>(settings, serverRoute(name), 'DELETE');
  } catch (error) {
    if (!(error instanceof ServerConnection.ResponseError && error.response.status === 404)) {
      throw error;
    }
  }
}

/** Copy the quickstart notebook to the user's files if it is not there; resolves to its path. */
export const ensureQuickstart = async (settings: Settings) =>
  (await request<{ path: string }>(settings, 'quickstart', 'POST')).path;

/** The outcome in a sentence; `path` is the absolute path of the folder that was published. */
export interface IDone {
  readonly message: string;
  readonly path?: string;
}

/** What can be served from a folder of the user's files. */
export interface IFolder {
  readonly kind: 'saved_model' | 'versions' | null;
  /** A suggested name for its server. */
  readonly name: string;
  readonly versions: readonly Version[];
  /** Why the folder may not be the user's own; null if it is. */
  readonly foreign: string | null;
}

export const lookAtFolder = (settings: Settings, path: string) =>
  request<IFolder>(settings, `folder?path=${encodeURIComponent(path)}`);

/** Serve a folder; resolves when the server is ready. */
export const startServer = (
  settings: Settings,
  asked: { path: string; name: string; trusted: boolean }
) => request<IDone>(settings, 'servers', 'POST', asked);

/** Restart a server that was killed; resolves when it is ready. */
export const restartServer = (settings: Settings, name: string) =>
  request<IDone>(settings, `${serverRoute(name)}/restart`, 'POST', {});

/** A model's address, and how to send it requests. */
export interface IModelAbout {
  readonly address: string;
  readonly snippets: Readonly<Record<string, string>>;
}

export const aboutModel = (settings: Settings, server: string, model: string) =>
  request<IModelAbout>(settings, `${modelRoute(server, model)}?${QUIETLY}`);

const CHANGES = ['transition', 'batching', 'labels'];

/** Change a setting of a model, or `publish`, `rollback` or `undo`. */
export function orderModel(
  settings: Settings,
  server: string,
  model: string,
  op: string,
  values: Readonly<Record<string, unknown>>
): Promise<IDone> {
  const route = modelRoute(server, model);
  return CHANGES.includes(op)
    ? request(settings, route, 'PATCH', { [op]: values.value })
    : request(settings, `${route}/${op}`, 'POST', values);
}

const serverRoute = (server: string) => `servers/${encodeURIComponent(server)}`;

const modelRoute = (server: string, model: string) =>
  `${serverRoute(server)}/models/${encodeURIComponent(model)}`;

export interface ILedger {
  readonly devices: readonly IDevice[];
  readonly notes: readonly string[];
}

export const readLedger = (settings: Settings, server: string) =>
  request<ILedger>(settings, `${serverRoute(server)}/memory?${QUIETLY}`);

export interface ILogEvent {
  readonly seq: number;
  readonly kind: string;
  readonly wall: number;
  readonly model?: string;
  readonly version?: Version;
  readonly line?: string;
}

export interface ILog {
  readonly last_seq: number;
  readonly events: readonly ILogEvent[];
}

/** The server's events after the number `since`. */
export const readLog = (settings: Settings, server: string, since: number) =>
  request<ILog>(settings, `${serverRoute(server)}/events?since=${since}&${QUIETLY}`);

export interface IExperiment {
  readonly number: number;
  readonly kind: string;
  readonly model: string;
  readonly saved_at: number;
  readonly summary: string;
}

/** An experiment that is running in some notebook or terminal. */
export interface IRunning {
  /** Its number among the running ones; it gets another one when it is saved. */
  readonly number: number;
  readonly kind: string;
  readonly model: string;
  readonly server: string;
  readonly started_at: number;
  /** Its progress, in words and from 0 to 1; null if unknown. */
  readonly text: string;
  readonly share: number | null;
  readonly cancelled: boolean;
}

export interface IExperiments {
  /** Finished experiments, latest first. */
  readonly experiments: readonly IExperiment[];
  readonly running: readonly IRunning[];
}

export const listExperiments = (settings: Settings) =>
  request<IExperiments>(settings, `experiments?${QUIETLY}`);

/** The result of an experiment. */
export interface IFound extends IExperiment {
  readonly sentences: readonly string[];
  readonly tables: readonly {
    readonly title: string;
    readonly columns: readonly string[];
    readonly rows: readonly (readonly string[])[];
  }[];
  /** A PNG in base64. */
  readonly picture: string;
}

export const readExperiment = (settings: Settings, number: number) =>
  request<IFound>(settings, `experiments/${number}`);

/** Cancel a running experiment. */
export const cancelExperiment = (settings: Settings, number: number) =>
  request<IDone>(settings, `experiments/running/${number}/cancel`, 'POST', {});

export interface ILab {
  /** The file's name, which begins with the lab's number. */
  readonly name: string;
  readonly title: string;
  /** In a few words; empty where there are none. */
  readonly idea: string;
  /** Where the user has it; null where it was never opened. */
  readonly path: string | null;
  /** How far it was run, according to its saved outputs. */
  readonly state: LabState;
}

/** All labs, in their order. */
export const listLabs = async (settings: Settings): Promise<readonly ILab[]> =>
  (await request<{ labs: ILab[] }>(settings, `labs?${QUIETLY}`)).labs;

/** Copy a lab to the user's files if it is not there; resolves to its path. */
export const ensureLab = async (settings: Settings, name: string) =>
  (await request<{ path: string }>(settings, 'labs', 'POST', { name })).path;

/** Ask one of the server extension's routes; a refusal is thrown with its own message. */
async function request<T>(
  settings: Settings,
  route: string,
  method = 'GET',
  body?: unknown
): Promise<T> {
  const url = URLExt.join(settings.baseUrl, 'workbench/api', route);
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const response = await ServerConnection.makeRequest(url, init, settings);
  if (!response.ok) {
    throw await ServerConnection.ResponseError.create(response);
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}
