/** The section "Model servers" of the Running panel: server, its models, their versions. */

import { type IRunningSessions, IRunningSessionManagers } from '@jupyterlab/running';
import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon } from '@jupyterlab/ui-components';
import type { ISignal } from '@lumino/signaling';

import type { IModel, IServer } from '../protocol/generated';
import {
  serverDetail,
  serverSummary,
  serverTitle,
  shown,
  statusOf,
  versionDetail
} from '../servers/describe';
import { statusIcons, workbenchIcon } from '../servers/icons';
import { CommandIDs, IModelServers } from '../servers/tokens';
import { plugin, runner } from './offer';

/** What a click in the section does. */
interface ISectionActions {
  /** Stops the server of that name, and shows an error if that fails. */
  stop(name: string): Promise<void>;
  /** Opens the dashboard at a server, or at one of its models. */
  open(server: string, model?: string): void;
}

function modelServersSection(
  servers: IModelServers,
  actions: ISectionActions,
  trans: TranslationBundle
): IRunningSessions.IManager {
  return {
    name: trans.__('Model servers'),
    supportsMultipleViews: true,
    running: ({ mode }) =>
      servers.servers.map(server => serverItem(server, servers, actions, trans, mode)),
    refreshRunning: () => void servers.refresh(),
    runningChanged: servers.changed as ISignal<unknown, unknown>,
    shutdownItemIcon: closeIcon,
    shutdownLabel: item => trans.__('Stop this server: %1', String(item.label())),
    shutdownAll: () => {
      for (const server of servers.servers) {
        void actions.stop(server.name);
      }
    },
    shutdownAllLabel: trans.__('Stop All'),
    shutdownAllConfirmationText: () => {
      const count = servers.servers.length;
      return trans._n(
        'Stop %1 model server? It answers the requests in progress first.',
        'Stop %1 model servers? They answer the requests in progress first.',
        count,
        count
      );
    }
  };
}

function serverItem(
  server: IServer,
  servers: IModelServers,
  actions: ISectionActions,
  trans: TranslationBundle,
  mode: 'tree' | 'list'
): IRunningSessions.IRunningItem {
  const stopping = servers.isStopping(server.name);
  const item: IRunningSessions.IRunningItem = {
    className: `wb-RunningServer wb-mod-${stopping ? 'stopping' : server.state}`,
    context: 'workbench-server',
    icon: () => (server.state === 'dead' ? statusIcons.failed : workbenchIcon),
    open: () => actions.open(server.name),
    label: () => server.name,
    labelTitle: () => serverTitle(server, trans),
    detail: () =>
      mode === 'list'
        ? serverSummary(server, stopping, trans)
        : serverDetail(server, stopping, trans)
  };
  if (!stopping) {
    item.shutdown = () => void actions.stop(server.name);
  }
  if (mode === 'tree') {
    // A server's only model needs no line of its own if it has the server's name.
    const [first] = server.models;
    item.children =
      server.models.length === 1 && first.name === server.name
        ? versionItems(server, first, actions, trans)
        : server.models.map(model => modelItem(server, model, actions, trans));
  }
  return item;
}

function modelItem(
  server: IServer,
  model: IModel,
  actions: ISectionActions,
  trans: TranslationBundle
): IRunningSessions.IRunningItem {
  return {
    className: 'wb-RunningModel',
    context: 'workbench-model',
    icon: () => workbenchIcon,
    open: () => actions.open(server.name, model.name),
    label: () => model.name,
    labelTitle: () => `${server.url}/v1/models/${model.name}`,
    children: versionItems(server, model, actions, trans)
  };
}

function versionItems(
  server: IServer,
  model: IModel,
  actions: ISectionActions,
  trans: TranslationBundle
): IRunningSessions.IRunningItem[] {
  return shown(model).map(version => {
    const status = statusOf(version);
    return {
      className: `wb-RunningVersion wb-mod-${status}`,
      context: 'workbench-version',
      icon: () => statusIcons[status],
      open: () => actions.open(server.name, model.name),
      label: () => trans.__('Version %1', version.version),
      labelTitle: () => version.error ?? `${server.url}/v1/models/${model.name}`,
      detail: () => versionDetail(version, trans)
    };
  });
}

export const runningPlugin = plugin(
  {
    name: 'running',
    description: 'Adds the section "Model servers" to the Running panel.',
    requires: [IRunningSessionManagers, IModelServers],
    optional: []
  },
  (app, trans, managers, servers) => {
    const actions: ISectionActions = {
      stop: name => app.commands.execute(CommandIDs.stopServer, { name }),
      open: (server, model) => {
        const args = model === undefined ? { server } : { server, model };
        void runner(app, CommandIDs.openDashboard)?.(args);
      }
    };
    managers.add(modelServersSection(servers, actions, trans));
  }
);
