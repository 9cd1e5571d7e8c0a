/** The command that opens the quickstart notebook. */

import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';

import { ensureQuickstart } from '../protocol/api';
import { workbenchIcon } from '../servers/icons';
import { CommandIDs } from '../servers/tokens';
import { cwd, takes, tell } from './messages';
import { offer, plugin } from './offer';

export const quickstartPlugin = plugin(
  {
    name: 'quickstart',
    description: 'Opens the quickstart notebook from the launcher and the command palette.',
    requires: [],
    optional: [ILauncher, ICommandPalette]
  },
  (app, trans, launcher, palette) => {
    app.commands.addCommand(CommandIDs.openQuickstart, {
      label: args =>
        args['isPalette']
          ? trans.__('Open the Serving Quickstart')
          : trans.__('Serving quickstart'),
      caption: trans.__('Open a notebook that serves, updates and rolls back a model'),
      icon: args => (args['isPalette'] ? undefined : workbenchIcon),
      describedBy: takes(trans, cwd(trans)),
      execute: async () => {
        try {
          const path = await ensureQuickstart(app.serviceManager.serverSettings);
          return await app.commands.execute('docmanager:open', { path });
        } catch (error) {
          tell(trans.__('Cannot open the quickstart notebook'), error);
          return undefined;
        }
      }
    });
    offer(CommandIDs.openQuickstart, trans, palette, launcher, 1);
  }
);
