/** Servers and versions in words. Nothing here touches the page, so that it is tested alone. */

import type { IModel, IServer, IVersion } from './api';

/** The part of JupyterLab's translation bundle that is needed here. */
export interface ITexts {
  __(text: string, ...args: unknown[]): string;
  _n(singular: string, plural: string, count: number, ...args: unknown[]): string;
}

/** What a version's icon and colour tell. */
export type Status = 'serving' | 'changing' | 'failed';

/** A model's versions that there is something to say about: those that live, those that failed. */
export function shown(model: IModel): IVersion[] {
  return model.versions.filter(version => version.state !== 'END' || version.error !== null);
}

export function statusOf(version: IVersion): Status {
  if (version.error !== null) {
    return 'failed';
  }
  return version.state === 'AVAILABLE' ? 'serving' : 'changing';
}

/** 36 MB, 1.4 GB: powers of 1024, as the Python side counts. */
export function formatBytes(bytes: number): string {
  const mega = bytes / 2 ** 20;
  if (mega < 1000) {
    return `${mega < 10 ? mega.toFixed(1) : mega.toFixed(0)} MB`;
  }
  const giga = mega / 1024;
  return `${giga < 10 ? giga.toFixed(1) : giga.toFixed(0)} GB`;
}

/** `Version 2`, or `digits 2` where the server's name does not say which model it is. */
export function versionLabel(
  server: IServer,
  model: IModel,
  version: IVersion,
  trans: ITexts
): string {
  return server.models.length === 1 && model.name === server.name
    ? trans.__('Version %1', version.version)
    : `${model.name} ${version.version}`;
}

/** `AVAILABLE · 36 MB`, with the state in TensorFlow Serving's own word. */
export function versionDetail(version: IVersion, trans: ITexts): string {
  const state = version.error === null ? version.state : trans.__('failed');
  return version.memory_bytes === null
    ? state
    : `${state} · ${formatBytes(version.memory_bytes)}`;
}

/** A server on one line where its versions are listed below it: how it is, and its memory. */
export function serverDetail(server: IServer, stopping: boolean, trans: ITexts): string {
  if (stopping) {
    return trans.__('stopping…');
  }
  if (server.state === 'unreachable') {
    return trans.__('not answering');
  }
  return server.memory_bytes === null ? '' : formatBytes(server.memory_bytes);
}

/** A server on one line by itself: each model's versions with their states. */
export function serverSummary(server: IServer, stopping: boolean, trans: ITexts): string {
  if (stopping || server.state === 'unreachable') {
    return serverDetail(server, stopping, trans);
  }
  const models = server.models.map(model => {
    const versions = shown(model).map(
      v => `${v.version} ${v.error === null ? v.state : trans.__('failed')}`
    );
    const name = server.models.length === 1 && model.name === server.name ? [] : [model.name];
    return [...name, versions.join(', ') || trans.__('no version')].join(' ');
  });
  return models.join('; ') || trans.__('no model');
}

/** All there is to know about a server, on lines of their own: for its tooltip. */
export function serverTitle(server: IServer, trans: ITexts): string {
  const lines = [trans.__('Model server %1', server.name), server.url];
  for (const model of server.models) {
    for (const version of shown(model)) {
      const error = version.error === null ? '' : `: ${version.error}`;
      lines.push(`${model.name} ${version.version} ${versionDetail(version, trans)}${error}`);
    }
  }
  return lines.join('\n');
}
