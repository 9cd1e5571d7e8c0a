/** The section "Model servers" of the Running panel: server, and below it its versions. */

import type { IRunningSessions } from '@jupyterlab/running';
import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';

import type { IServer } from './api';
import {
  serverDetail,
  serverSummary,
  serverTitle,
  shown,
  statusOf,
  versionDetail,
  versionLabel
} from './describe';
import { statusIcons, workbenchIcon } from './icons';
import type { IModelServers } from './tokens';

/**
 * @param stop - stops the server of that name and tells the user where that fails.
 */
export function modelServersSection(
  servers: IModelServers,
  stop: (name: string) => Promise<void>,
  trans: TranslationBundle
): IRunningSessions.IManager {
  return {
    name: trans.__('Model servers'),
    supportsMultipleViews: true,
    running: ({ mode }) =>
      servers.servers.map(server => serverItem(server, servers, stop, trans, mode)),
    refreshRunning: () => void servers.refresh(),
    runningChanged: servers.changed as ISignal<unknown, unknown>,
    shutdownItemIcon: closeIcon,
    shutdownLabel: item => trans.__('Stop this server: %1', String(item.label())),
    shutdownAll: () => {
      for (const server of servers.servers) {
        void stop(server.name);
      }
    },
    shutdownAllLabel: trans.__('Stop All'),
    shutdownAllConfirmationText: () => {
      const count = servers.servers.length;
      return trans._n(
        'Stop %1 model server? Requests in progress are answered first; its address is gone then.',
        'Stop %1 model servers? Requests in progress are answered first; their addresses are gone then.',
        count,
        count
      );
    }
  };
}

function serverItem(
  server: IServer,
  servers: IModelServers,
  stop: (name: string) => Promise<void>,
  trans: TranslationBundle,
  mode: 'tree' | 'list'
): IRunningSessions.IRunningItem {
  const stopping = servers.isStopping(server.name);
  const item: IRunningSessions.IRunningItem = {
    className: `wb-RunningServer${stopping ? ' wb-mod-stopping' : ''}`,
    context: 'workbench-server',
    icon: () => workbenchIcon,
    label: () => server.name,
    labelTitle: () => serverTitle(server, trans),
    detail: () =>
      mode === 'list'
        ? serverSummary(server, stopping, trans)
        : serverDetail(server, stopping, trans)
  };
  if (!stopping) {
    item.shutdown = () => void stop(server.name);
  }
  if (mode === 'tree') {
    item.children = versionItems(server, trans);
  }
  return item;
}

function versionItems(server: IServer, trans: TranslationBundle): IRunningSessions.IRunningItem[] {
  return server.models.flatMap(model =>
    shown(model).map(version => {
      const status = statusOf(version);
      return {
        className: `wb-RunningVersion wb-mod-${status}`,
        context: 'workbench-version',
        icon: () => statusIcons[status],
        label: () => versionLabel(server, model, version, trans),
        labelTitle: () => version.error ?? `${server.url}/v1/models/${model.name}`,
        detail: () => versionDetail(version, trans)
      };
    })
  );
}
