/** Servers and versions in words. Does not touch the page. */

import { bytesText } from '../charts/text';
import type { IModel, IServer, IVersion } from '../protocol/generated';

/** The part of JupyterLab's translation bundle that is needed here. */
export interface ITexts {
  __(text: string, ...args: unknown[]): string;
  _n(singular: string, plural: string, count: number, ...args: unknown[]): string;
}

/** What a version's icon and colour show. */
export type Status = 'serving' | 'changing' | 'failed';

/** A model's versions that are alive or failed. */
export function shown(model: IModel): IVersion[] {
  return model.versions.filter(version => version.state !== 'END' || version.error !== null);
}

export function statusOf(version: IVersion): Status {
  if (version.error !== null) {
    return 'failed';
  }
  return version.state === 'AVAILABLE' ? 'serving' : 'changing';
}

/** TensorFlow Serving's own word for a version's state. */
export function stateText(version: IVersion, trans: ITexts): string {
  return version.error === null ? version.state : trans.__('failed');
}

/** `AVAILABLE · 36 MB`, with the state in TensorFlow Serving's own word. */
export function versionDetail(version: IVersion, trans: ITexts): string {
  const state = stateText(version, trans);
  return version.memory_bytes === null ? state : `${state} · ${bytesText(version.memory_bytes)}`;
}

/** A server's state or memory, for a line with its versions below. */
export function serverDetail(server: IServer, stopping: boolean, trans: ITexts): string {
  if (stopping) {
    return trans.__('stopping…');
  }
  if (server.state === 'unreachable') {
    return trans.__('not answering');
  }
  if (server.state === 'dead') {
    return trans.__('dead');
  }
  return server.memory_bytes === null ? '' : bytesText(server.memory_bytes);
}

/** A server in one line: the versions of each model with their states. */
export function serverSummary(server: IServer, stopping: boolean, trans: ITexts): string {
  if (stopping || server.state !== 'running') {
    return serverDetail(server, stopping, trans);
  }
  const models = server.models.map(model => {
    const versions = shown(model).map(v => `${v.version} ${stateText(v, trans)}`);
    const name = server.models.length === 1 && model.name === server.name ? [] : [model.name];
    return [...name, versions.join(', ') || trans.__('no version')].join(' ');
  });
  return models.join('; ') || trans.__('no model');
}

/** A server's tooltip: its address and its versions, a line each. */
export function serverTitle(server: IServer, trans: ITexts): string {
  const lines = [trans.__('Model server %1', server.name), server.url];
  if (server.state === 'dead') {
    lines.push(trans.__('The server was killed. The dashboard can restart it.'));
  }
  for (const model of server.models) {
    for (const version of shown(model)) {
      const error = version.error === null ? '' : `: ${version.error}`;
      lines.push(`${model.name} ${version.version} ${versionDetail(version, trans)}${error}`);
    }
  }
  return lines.join('\n');
}

/** The status of all servers at a glance. */
export interface IOverview {
  /** The worst status of all versions; null without servers. */
  readonly status: Status | null;
  /** `2 servers · 150 requests/s · 340 MB of 12 GB`. */
  readonly text: string;
}

export function overview(servers: readonly IServer[], trans: ITexts): IOverview {
  if (servers.length === 0) {
    return { status: null, text: '' };
  }
  const versions = servers.flatMap(server => server.models.flatMap(model => shown(model)));
  const failed =
    servers.some(server => server.state === 'dead') || versions.some(v => statusOf(v) === 'failed');
  const changing =
    servers.some(server => server.state === 'unreachable') ||
    versions.some(v => statusOf(v) === 'changing');
  const sum = (of: (server: IServer) => number | null) =>
    servers.reduce((total, server) => total + (of(server) ?? 0), 0);
  const parts = [trans._n('%1 server', '%1 servers', servers.length, servers.length)];
  parts.push(trans.__('%1 requests/s', rateText(sum(server => server.requests_per_second))));
  const memory = sum(server => server.memory_bytes);
  // All servers share one machine, so the largest budget is the budget of all.
  const budget = Math.max(...servers.map(server => server.budget_bytes ?? 0));
  if (memory > 0) {
    parts.push(
      budget > 0 ? trans.__('%1 of %2', bytesText(memory), bytesText(budget)) : bytesText(memory)
    );
  }
  return { status: failed ? 'failed' : changing ? 'changing' : 'serving', text: parts.join(' · ') };
}

/** 0, 0.4, 12, 340, 1.2 k. */
export function rateText(rate: number): string {
  if (rate >= 1000) {
    return `${(rate / 1000).toFixed(rate < 10_000 ? 1 : 0)} k`;
  }
  return rate > 0 && rate < 10 ? rate.toFixed(1) : rate.toFixed(0);
}
