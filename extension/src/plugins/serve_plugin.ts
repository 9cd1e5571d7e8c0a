/** "Serve this model": a folder of the user's files, from the file browser, palette or dashboard. */

import { ICommandPalette, InputDialog } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import type { TranslationBundle } from '@jupyterlab/translation';

import { askForTrust } from '../dashboard/dashboard';
import { lookAtFolder, startServer } from '../protocol/api';
import { workbenchIcon } from '../servers/icons';
import { CommandIDs, IModelServers } from '../servers/tokens';
import { starting, takes, tell } from './messages';
import { offer, plugin, runner } from './offer';

export const servePlugin = plugin(
  {
    name: 'serve',
    description: 'Serves model folders from the file browser and the palette.',
    requires: [IModelServers],
    optional: [IDefaultFileBrowser, ICommandPalette]
  },
  (app, trans, servers, browser, palette) => {
    const settings = app.serviceManager.serverSettings;

    /** The one folder that is selected in the file browser. */
    const selected = (): string | null => {
      const items = browser === null ? [] : [...browser.selectedItems()];
      return items.length === 1 && items[0].type === 'directory' ? items[0].path : null;
    };

    const serve = async (path: string, asked: string | null) => {
      const folder = await lookAtFolder(settings, path);
      if (folder.kind === null) {
        throw new Error(
          trans.__('%1 is neither a SavedModel nor a folder of numbered SavedModel versions', path)
        );
      }
      const trusted = folder.foreign !== null;
      if (folder.foreign !== null && !(await askForTrust(`${folder.foreign}.`, trans))) {
        return;
      }
      const taken = servers.servers.some(server => server.name === folder.name);
      const name = asked ?? (taken ? await askForName(folder.name, trans) : folder.name);
      if (name === null) {
        return;
      }
      const work = startServer(settings, { path, name, trusted });
      if (await starting(name, trans.__('Serving %1…', path), work, trans)) {
        await servers.refresh();
        await runner(app, CommandIDs.openDashboard)?.({ server: name, served: path });
      }
    };

    app.commands.addCommand(CommandIDs.serveFolder, {
      label: args =>
        args['isPalette'] ? trans.__('Serve a Model Folder…') : trans.__('Serve This Model'),
      caption: trans.__('Serve a SavedModel or a folder of its numbered versions'),
      icon: args => (args['isPalette'] ? undefined : workbenchIcon),
      describedBy: takes(trans, {
        path: {
          type: 'string',
          description: trans.__(
            'Path of the folder, relative to the root of the file browser; defaults to the selected folder'
          )
        },
        name: {
          type: 'string',
          description: trans.__('Name of the server; defaults to the name of the folder')
        }
      }),
      execute: async args => {
        const { path, name } = args;
        const given = typeof path === 'string' ? path : args['isPalette'] ? null : selected();
        const chosen = given ?? (await askForFolder(selected() ?? '', trans));
        if (chosen === null) {
          return;
        }
        try {
          await serve(chosen, typeof name === 'string' ? name : null);
        } catch (error) {
          tell(trans.__('Cannot serve the folder'), error);
        }
      }
    });
    offer(CommandIDs.serveFolder, trans, palette);
  }
);

async function askForFolder(text: string, trans: TranslationBundle): Promise<string | null> {
  const answer = await InputDialog.getText({
    title: trans.__('Serve a model'),
    label: trans.__('Folder with a SavedModel or its numbered versions'),
    placeholder: 'models/digits',
    text,
    okLabel: trans.__('Serve')
  });
  return answer.button.accept && answer.value ? answer.value : null;
}

async function askForName(taken: string, trans: TranslationBundle): Promise<string | null> {
  const answer = await InputDialog.getText({
    title: trans.__('A server named %1 is already running', taken),
    label: trans.__('Name of the new server'),
    text: `${taken}-2`,
    okLabel: trans.__('Serve')
  });
  return answer.button.accept && answer.value ? answer.value : null;
}
