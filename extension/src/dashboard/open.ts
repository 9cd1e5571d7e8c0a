/** The command that opens the dashboard, and what brings it back after a reload. */

import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { workbenchIcon } from '../icons';
import { cwd, takes } from '../messages';
import { CommandIDs, type IModelServers } from '../tokens';
import { Dashboard } from './dashboard';
import { insertCell } from './insert';

const ID = 'workbench-dashboard';

export function addDashboard(
  app: JupyterFrontEnd,
  servers: IModelServers,
  restorer: ILayoutRestorer | null,
  trans: TranslationBundle
): WidgetTracker<MainAreaWidget<Dashboard>> {
  const { commands, shell } = app;
  const tracker = new WidgetTracker<MainAreaWidget<Dashboard>>({ namespace: ID });

  const make = (): MainAreaWidget<Dashboard> => {
    const run = (command: string, args: ReadonlyPartialJSONObject) =>
      void commands.execute(command, args);
    const content = new Dashboard(
      servers,
      app.serviceManager.serverSettings,
      {
        serve: () => run(CommandIDs.serveFolder, { isPalette: true }),
        restart: name => run(CommandIDs.restartServer, { name }),
        console: server => run(CommandIDs.openConsole, { name: server.name }),
        insert: code => insertCell(app, code)
      },
      trans
    );
    const widget = new MainAreaWidget({ content });
    widget.id = ID;
    widget.title.label = trans.__('Model servers');
    widget.title.caption = trans.__('The dashboard of model servers');
    widget.title.icon = workbenchIcon;
    widget.title.closable = true;
    widget.toolbar.hide();
    content.selectionChanged.connect(() => void tracker.save(widget));
    return widget;
  };

  commands.addCommand(CommandIDs.openDashboard, {
    label: args =>
      args['isPalette'] ? trans.__('Open the Dashboard of Model Servers') : trans.__('Model servers'),
    caption: trans.__('Versions, transitions, batches and memory of the model servers, live'),
    icon: args => (args['isPalette'] ? undefined : workbenchIcon),
    describedBy: takes(trans, {
      ...cwd(trans),
      server: { type: 'string', description: trans.__('The server to look at') },
      model: {
        type: 'string',
        description: trans.__("The model to look at; without it the server's first")
      },
      served: {
        type: 'string',
        description: trans.__('The folder that this server was just started from, if it was')
      },
      beside: {
        type: 'boolean',
        description: trans.__('Whether it opens beside what is open')
      }
    }),
    execute: args => {
      const { server, model, served } = args;
      let widget = tracker.find(() => true);
      if (widget === undefined) {
        widget = make();
        void tracker.add(widget);
        shell.add(widget, 'main', args['beside'] ? { mode: 'split-right', activate: false } : {});
      }
      const { content } = widget;
      if (typeof server === 'string') {
        if (typeof model === 'string') {
          content.select({ server, model });
        } else {
          content.selectServer(server);
        }
        if (typeof served === 'string') {
          const deed = { op: 'serve', server, model: server, values: { path: served } };
          content.tellDeed(deed, { ok: true, text: trans.__('%1 is served.', served) });
        }
      }
      if (!args['beside']) {
        shell.activateById(widget.id);
      }
      return widget;
    }
  });

  if (restorer !== null) {
    void restorer.restore(tracker, {
      command: CommandIDs.openDashboard,
      args: widget => ({ ...(widget.content.selection ?? {}) }),
      name: () => ID
    });
  }
  return tracker;
}
