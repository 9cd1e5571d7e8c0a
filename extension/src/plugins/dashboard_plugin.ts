/** The command that opens the dashboard, and what brings it back after a reload. */

import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { Dashboard } from '../dashboard/dashboard';
import { insertCell } from '../dashboard/insert_cell';
import { workbenchIcon } from '../servers/icons';
import { CommandIDs, type IModelServers } from '../servers/tokens';
import { MainView } from './main_view';
import { cwd, takes } from './messages';
import { runner } from './offer';
import { fileOfTheAddress, viewPlugin } from './view_plugin';

function addDashboard(
  app: JupyterFrontEnd,
  servers: IModelServers,
  restorer: ILayoutRestorer | null,
  trans: TranslationBundle
): MainView<Dashboard> {
  const { commands, shell } = app;
  const run = (command: string, args: ReadonlyPartialJSONObject) =>
    void commands.execute(command, args);

  const make = (): Dashboard => {
    const content = new Dashboard(
      servers,
      app.serviceManager.serverSettings,
      {
        serve: () => run(CommandIDs.serveFolder, { isPalette: true }),
        restart: name => run(CommandIDs.restartServer, { name }),
        console: server => run(CommandIDs.openConsole, { name: server.name }),
        insert: code => insertCell(app, code),
        glossary: runner(app, CommandIDs.openGlossary)
      },
      trans
    );
    content.selectionChanged.connect(() => view.keep());
    return content;
  };

  const view = new MainView(app, restorer, {
    id: 'workbench-dashboard',
    label: trans.__('Model servers'),
    caption: trans.__('Dashboard of model servers'),
    command: CommandIDs.openDashboard,
    make,
    args: content => ({ ...(content.selection ?? {}) })
  });

  commands.addCommand(CommandIDs.openDashboard, {
    label: args =>
      args['isPalette']
        ? trans.__('Open the Dashboard of Model Servers')
        : trans.__('Model servers'),
    caption: trans.__('Live versions, transitions, batches and memory of the model servers'),
    icon: args => (args['isPalette'] ? undefined : workbenchIcon),
    describedBy: takes(trans, {
      ...cwd(trans),
      server: { type: 'string', description: trans.__('Name of the server to show') },
      model: {
        type: 'string',
        description: trans.__('Name of the model to show; defaults to the first of the server')
      },
      served: {
        type: 'string',
        description: trans.__('The folder that this server was just started from')
      },
      beside: {
        type: 'boolean',
        description: trans.__('Whether to open beside the current tab')
      }
    }),
    execute: args => {
      const { server, model, served } = args;
      const widget = view.show(args['beside'] ? { mode: 'split-right', activate: false } : {});
      const { content } = widget;
      if (typeof server === 'string') {
        if (typeof model === 'string') {
          content.select({ server, model });
        } else {
          content.selectServer(server);
        }
        if (typeof served === 'string') {
          const deed = { op: 'serve', server, model: server, values: { path: served } };
          content.tellDeed(deed, { ok: true, text: trans.__('Serving %1.', served) });
        }
      }
      if (!args['beside']) {
        shell.activateById(widget.id);
      }
      return widget;
    }
  });

  return view;
}

export const dashboardPlugin = viewPlugin({
  name: 'dashboard',
  description: 'Adds the dashboard, which the launcher, the palette and `workbench lab` open.',
  command: CommandIDs.openDashboard,
  rank: 0,
  add: addDashboard,
  option: 'workbenchDashboard',
  args: async app => {
    // Open the file of the address first; if JupyterLab did it later, it would cover the dashboard.
    const path = await fileOfTheAddress(app);
    if (path !== '') {
      await app.commands.execute('docmanager:open', { path });
    }
    return { beside: true };
  }
});
