/** The routes of the server extension: a function each. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type {
  IDone,
  IExperiments,
  IFolder,
  IFound,
  ILab,
  ILedger,
  ILog,
  IModelAbout,
  IServer
} from './generated';

type Settings = ServerConnection.ISettings;

// Polling must not count as activity, or an unused server would never be culled.
const QUIETLY = 'no_track_activity=1';

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

export const readLedger = (settings: Settings, server: string) =>
  request<ILedger>(settings, `${serverRoute(server)}/memory?${QUIETLY}`);

/** The server's events after the number `since`. */
export const readLog = (settings: Settings, server: string, since: number) =>
  request<ILog>(settings, `${serverRoute(server)}/events?since=${since}&${QUIETLY}`);

export const listExperiments = (settings: Settings) =>
  request<IExperiments>(settings, `experiments?${QUIETLY}`);

export const readExperiment = (settings: Settings, number: number) =>
  request<IFound>(settings, `experiments/${number}`);

/** Cancel a running experiment. */
export const cancelExperiment = (settings: Settings, number: number) =>
  request<IDone>(settings, `experiments/running/${number}/cancel`, 'POST', {});

/** All labs, in their order. */
export const listLabs = async (settings: Settings): Promise<readonly ILab[]> =>
  (await request<{ labs: ILab[] }>(settings, `labs?${QUIETLY}`)).labs;

/** Copy a lab to the user's files if it is not there; resolves to its path. */
export const ensureLab = async (settings: Settings, name: string) =>
  (await request<{ path: string }>(settings, 'labs', 'POST', { name })).path;

/** A route's refusal, with its own message. */
export class Refusal extends ServerConnection.ResponseError {
  /** @param reason - which refusal it is, if its status does not say. */
  constructor(
    error: ServerConnection.ResponseError,
    readonly reason: string | undefined
  ) {
    super(error.response, error.message, error.traceback);
  }
}

/** Ask one of the server extension's routes; a refusal is thrown. */
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
    const body = response.clone();
    const error = await ServerConnection.ResponseError.create(response);
    const { reason } = (await body.json().catch(() => ({}))) as { reason?: string };
    throw new Refusal(error, reason);
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}
