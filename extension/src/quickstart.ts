/** The command that opens the quickstart notebook. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';

import { ensureQuickstart } from './api';
import { workbenchIcon } from './icons';
import { cwd, takes, tell } from './messages';
import { CommandIDs } from './tokens';

export function addQuickstartCommand(app: JupyterFrontEnd, trans: TranslationBundle): void {
  app.commands.addCommand(CommandIDs.openQuickstart, {
    label: args =>
      args['isPalette'] ? trans.__('Open the Serving Quickstart') : trans.__('Serving quickstart'),
    caption: trans.__('Open a notebook that serves, updates and rolls back a model'),
    icon: args => (args['isPalette'] ? undefined : workbenchIcon),
    describedBy: takes(trans, cwd(trans)),
    execute: async () => {
      try {
        const path = await ensureQuickstart(app.serviceManager.serverSettings);
        return await app.commands.execute('docmanager:open', { path });
      } catch (error) {
        tell(trans.__('The quickstart notebook cannot be opened'), error);
        return undefined;
      }
    }
  });
}
