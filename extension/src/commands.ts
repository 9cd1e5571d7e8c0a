/** The commands over model servers, for the palette and the Running panel. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { refreshIcon, stopIcon } from '@jupyterlab/ui-components';

import { isPalette, tell } from './messages';
import { CommandIDs, type IModelServers } from './tokens';

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
    caption: trans.__('End a model server; requests in progress are answered first'),
    icon: args => (args['isPalette'] ? undefined : stopIcon),
    isEnabled: () => servers.servers.length > 0,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          ...isPalette(trans),
          name: {
            type: 'string',
            description: trans.__("The server's name; without it the user is asked")
          }
        }
      }
    },
    execute: async args => {
      const given = args['name'];
      const name = typeof given === 'string' ? given : await chooseServer(servers, trans);
      if (name === null) {
        return;
      }
      try {
        await servers.stop(name);
      } catch (error) {
        tell(trans.__('Server %1 could not be stopped', name), error);
      }
    }
  });

  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh Model Servers'),
    caption: trans.__('Look again which model servers run'),
    icon: args => (args['isPalette'] ? undefined : refreshIcon),
    describedBy: { args: { type: 'object', properties: isPalette(trans) } },
    execute: () => servers.refresh()
  });

  servers.changed.connect(() => commands.notifyCommandChanged(CommandIDs.stopServer));
}

async function chooseServer(
  servers: IModelServers,
  trans: TranslationBundle
): Promise<string | null> {
  const answer = await InputDialog.getItem({
    title: trans.__('Stop a model server'),
    label: trans.__('Server'),
    items: servers.servers.map(server => server.name),
    okLabel: trans.__('Stop')
  });
  return answer.button.accept ? answer.value : null;
}
