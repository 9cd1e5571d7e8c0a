/** The commands over model servers, for the palette and the Running panel. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { consoleIcon, refreshIcon, stopIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { IServer } from '../protocol/generated';
import { CommandIDs, type IModelServers } from '../servers/tokens';
import { starting, takes, tell } from './messages';

export function addServerCommands(
  app: JupyterFrontEnd,
  servers: IModelServers,
  trans: TranslationBundle
): void {
  const { commands } = app;

  commands.addCommand(CommandIDs.stopServer, {
    label: args =>
      typeof args['name'] === 'string'
        ? trans.__('Stop Model Server %1', args['name'])
        : trans.__('Stop a Model Server…'),
    caption: trans.__('Stop a model server after it has answered the requests in progress'),
    icon: args => (args['isPalette'] ? undefined : stopIcon),
    isEnabled: () => servers.servers.length > 0,
    describedBy: takes(trans, name(trans)),
    execute: async args => {
      const name = await named(args, servers.servers, trans.__('Stop'), trans);
      if (name === null) {
        return;
      }
      try {
        await servers.stop(name);
      } catch (error) {
        tell(trans.__('Cannot stop server %1', name), error);
      }
    }
  });

  commands.addCommand(CommandIDs.restartServer, {
    label: args =>
      typeof args['name'] === 'string'
        ? trans.__('Restart Model Server %1', args['name'])
        : trans.__('Restart a Killed Model Server…'),
    caption: trans.__('Serve the models of a killed server again, on the same address'),
    icon: args => (args['isPalette'] ? undefined : refreshIcon),
    isEnabled: () => dead(servers).length > 0,
    describedBy: takes(trans, name(trans)),
    execute: async args => {
      const chosen = await named(args, dead(servers), trans.__('Restart'), trans);
      if (chosen !== null) {
        const what = trans.__('Restarting %1…', chosen);
        await starting(chosen, what, servers.restart(chosen), trans);
      }
    }
  });

  commands.addCommand(CommandIDs.openConsole, {
    label: args =>
      typeof args['name'] === 'string'
        ? trans.__('Open a Console on %1', args['name'])
        : trans.__('Open a Console on a Model Server…'),
    caption: trans.__(
      'Open a console in the kernel that supervises the server; `server` is the server'
    ),
    icon: args => (args['isPalette'] ? undefined : consoleIcon),
    isEnabled: () => kernels(servers).length > 0,
    describedBy: takes(trans, {
      ...name(trans),
      isContextMenu: {
        type: 'boolean',
        description: trans.__('Whether the context menu was opened on the server')
      }
    }),
    execute: async args => {
      const below = args['isContextMenu'] ? serverBelowMenu(app) : null;
      const given = below === null ? args : { name: below };
      const chosen = await named(given, kernels(servers), trans.__('Open'), trans);
      const server = kernels(servers).find(other => other.name === chosen);
      if (server !== undefined) {
        await commands.execute('console:create', {
          kernelPreference: { id: server.kernel_id, shutdownOnDispose: false },
          name: server.name
        });
      } else if (chosen !== null) {
        const why = trans.__('it was started outside this JupyterLab and has no kernel here');
        tell(trans.__('Cannot open a console on server %1', chosen), why);
      }
    }
  });

  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh Model Servers'),
    caption: trans.__('Update the list of model servers'),
    icon: args => (args['isPalette'] ? undefined : refreshIcon),
    describedBy: takes(trans),
    execute: () => servers.refresh()
  });

  servers.changed.connect(() => {
    for (const id of [CommandIDs.stopServer, CommandIDs.restartServer, CommandIDs.openConsole]) {
      commands.notifyCommandChanged(id);
    }
  });
}

function name(trans: TranslationBundle) {
  return {
    name: {
      type: 'string',
      description: trans.__('Name of the server; without it, a dialog asks for one')
    }
  };
}

/** The server of the Running panel on which the context menu was opened. */
function serverBelowMenu(app: JupyterFrontEnd): string | null {
  const node = app.contextMenuHitTest(each => each.classList.contains('wb-RunningServer'));
  return node?.querySelector('.jp-RunningSessions-itemLabel')?.textContent ?? null;
}

function dead(servers: IModelServers): IServer[] {
  return servers.servers.filter(server => server.state === 'dead');
}

function kernels(servers: IModelServers): IServer[] {
  return servers.servers.filter(server => server.kernel_id !== null && server.state !== 'dead');
}

/** The server that a command's arguments name, or that the user chooses; null if cancelled. */
async function named(
  args: ReadonlyPartialJSONObject,
  servers: readonly IServer[],
  okLabel: string,
  trans: TranslationBundle
): Promise<string | null> {
  const given = args['name'];
  if (typeof given === 'string') {
    return given;
  }
  const answer = await InputDialog.getItem({
    title: trans.__('Which model server?'),
    label: trans.__('Server'),
    items: servers.map(server => server.name),
    okLabel
  });
  return answer.button.accept ? answer.value : null;
}
