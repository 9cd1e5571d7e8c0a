/** The command that opens the welcome page, and what brings it back after a reload. */

import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';

import { ensureLab } from '../protocol/api';
import { workbenchIcon } from '../servers/icons';
import { CommandIDs, type IModelServers } from '../servers/tokens';
import { Welcome } from '../welcome/welcome_page';
import { MainView } from './main_view';
import { cwd, takes, tell } from './messages';
import { runner } from './offer';
import { fileOfTheAddress, viewPlugin } from './view_plugin';

const ID = 'workbench-welcome';

function addWelcome(
  app: JupyterFrontEnd,
  servers: IModelServers,
  restorer: ILayoutRestorer | null,
  trans: TranslationBundle
): MainView<Welcome> {
  const { commands, serviceManager, shell } = app;

  const open = async (name: string) => {
    try {
      const path = await ensureLab(serviceManager.serverSettings, name);
      // Beside this page: in a new tab of the area that is there, or in a new area.
      const there = [...shell.widgets('main')].find(each => each.id !== ID && each.isVisible);
      const options =
        there === undefined
          ? { mode: 'split-right', ref: ID }
          : { mode: 'tab-after', ref: there.id };
      await commands.execute('docmanager:open', { path, options });
    } catch (error) {
      tell(trans.__('Cannot open the lab'), error);
    }
  };

  const make = (): Welcome => {
    const content = new Welcome(
      serviceManager.serverSettings,
      serviceManager.contents,
      servers,
      {
        open: name => void open(name),
        dashboard: runner(app, CommandIDs.openDashboard),
        glossary: runner(app, CommandIDs.openGlossary)
      },
      trans
    );
    void content.refresh();
    return content;
  };

  const view = new MainView(app, restorer, {
    id: ID,
    label: trans.__('Labs'),
    caption: trans.__('Serving Workbench labs'),
    command: CommandIDs.openWelcome,
    make
  });

  commands.addCommand(CommandIDs.openWelcome, {
    label: args =>
      args['isPalette'] ? trans.__('Open the Serving Labs') : trans.__('Serving labs'),
    caption: trans.__('Labs on model serving, with a tick for each one you have completed'),
    icon: args => (args['isPalette'] ? undefined : workbenchIcon),
    describedBy: takes(trans, {
      ...cwd(trans),
      beside: {
        type: 'string',
        description: trans.__('A file to open and show beside this page')
      }
    }),
    execute: async args => {
      const { beside } = args;
      const widget = view.show(typeof beside === 'string' ? { mode: 'split-left' } : {});
      shell.activateById(widget.id);
      if (typeof beside === 'string') {
        // If the file is opened by other means as well, it appears here too.
        const options = { mode: 'split-right', ref: ID };
        await commands.execute('docmanager:open', { path: beside, options });
      }
      return widget;
    }
  });

  return view;
}

export const welcomePlugin = viewPlugin({
  name: 'welcome',
  description: 'Adds the page of labs, which the launcher, the palette and `workbench lab` open.',
  command: CommandIDs.openWelcome,
  rank: 2,
  add: addWelcome,
  option: 'workbenchWelcome',
  args: async app => {
    const beside = await fileOfTheAddress(app);
    return beside === '' ? {} : { beside };
  }
});
