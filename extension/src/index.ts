/** The plugins. Each is small, and works where what it can do without is missing. */

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { IRunningSessionManagers } from '@jupyterlab/running';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { Widget } from '@lumino/widgets';

import { addServerCommands } from './commands';
import { addDashboard } from './dashboard/open';
import type { MainView } from './main_view';
import { addQuickstartCommand } from './quickstart';
import { modelServersSection } from './running';
import { addServeCommand } from './serve';
import { ModelServers, REFRESH_SECONDS } from './servers';
import { StatusItem } from './status';
import { CommandIDs, IModelServers } from './tokens';
import { addWelcome } from './welcome/open';

export { CommandIDs, IModelServers };

const NAME = 'serving-workbench-lab';

/** After Notebook (0) and Console (20), before Other (100). */
const LAUNCHER_RANK = 50;

function bundle(translator: ITranslator | null) {
  return (translator ?? nullTranslator).load('serving_workbench_lab');
}

/** Offer a command in the palette, and in the launcher where one is given. */
function offer(
  command: string,
  trans: TranslationBundle,
  palette: ICommandPalette | null,
  launcher: ILauncher | null = null,
  rank = 0
): void {
  const category = trans.__('Serving');
  palette?.addItem({ command, category, args: { isPalette: true } });
  launcher?.add({ command, category, rank, categoryRank: LAUNCHER_RANK });
}

interface IViewOptions {
  name: string;
  description: string;
  command: string;
  /** Its place in the launcher, among ours. */
  rank: number;
  add(
    app: JupyterFrontEnd,
    model: IModelServers,
    restorer: ILayoutRestorer | null,
    trans: TranslationBundle
  ): MainView<Widget>;
  /** The option of the page by which `workbench lab` has it opened at the start. */
  option: string;
  /** What its command is given then. */
  args(app: JupyterFrontEnd): Promise<ReadonlyPartialJSONObject>;
}

/** The plugin of a view of the main area. */
function viewPlugin(options: IViewOptions): JupyterFrontEndPlugin<void> {
  const { name, description, command, rank, add, option, args } = options;
  return {
    id: `${NAME}:${name}`,
    description,
    autoStart: true,
    requires: [IModelServers],
    optional: [ILauncher, ICommandPalette, ILayoutRestorer, ITranslator],
    activate: (
      app: JupyterFrontEnd,
      model: IModelServers,
      launcher: ILauncher | null,
      palette: ICommandPalette | null,
      restorer: ILayoutRestorer | null,
      translator: ITranslator | null
    ) => {
      const trans = bundle(translator);
      const view = add(app, model, restorer, trans);
      offer(command, trans, palette, launcher, rank);
      if (PageConfig.getOption(option) === 'open') {
        void app.restored.then(async () => {
          if (!view.isOpen) {
            await app.commands.execute(command, await args(app));
          }
        });
      }
    }
  };
}

/** The file that the page was opened at, if it was at one: a folder or nothing gives ''. */
async function fileOfTheAddress(app: JupyterFrontEnd): Promise<string> {
  const path = PageConfig.getOption('treePath');
  try {
    const { type } = await app.serviceManager.contents.get(path, { content: false });
    return type === 'directory' ? '' : path;
  } catch {
    return '';
  }
}

const servers: JupyterFrontEndPlugin<IModelServers> = {
  id: `${NAME}:servers`,
  description: 'Keeps the list of running model servers up to date; commands that act on them.',
  autoStart: true,
  optional: [ISettingRegistry, ICommandPalette, ITranslator],
  provides: IModelServers,
  activate: (
    app: JupyterFrontEnd,
    registry: ISettingRegistry | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ): IModelServers => {
    const trans = bundle(translator);
    const model = new ModelServers(app.serviceManager.serverSettings);
    // A server may be supervised by a kernel: one that comes or goes is news.
    app.serviceManager.kernels.runningChanged.connect(() => void model.refresh());
    registry
      ?.load(servers.id)
      .then(settings => {
        const apply = () => {
          const seconds = settings.get('refreshSeconds').composite;
          model.refreshSeconds = typeof seconds === 'number' ? seconds : REFRESH_SECONDS;
        };
        settings.changed.connect(apply);
        apply();
      })
      .catch(error => console.warn(`Settings of ${servers.id} cannot be read`, error));
    addServerCommands(app, model, trans);
    for (const command of [
      CommandIDs.stopServer,
      CommandIDs.restartServer,
      CommandIDs.openConsole,
      CommandIDs.refresh
    ]) {
      offer(command, trans, palette);
    }
    return model;
  }
};

const quickstart: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:quickstart`,
  description: 'Opens the quickstart notebook, from the launcher and the command palette.',
  autoStart: true,
  optional: [ILauncher, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    launcher: ILauncher | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = bundle(translator);
    addQuickstartCommand(app, trans);
    offer(CommandIDs.openQuickstart, trans, palette, launcher, 1);
  }
};

const running: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:running`,
  description: 'The section "Model servers" of the Running panel.',
  autoStart: true,
  requires: [IRunningSessionManagers, IModelServers],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    managers: IRunningSessionManagers,
    model: IModelServers,
    translator: ITranslator | null
  ) => {
    const stop = async (name: string) => {
      await app.commands.execute(CommandIDs.stopServer, { name });
    };
    const open = (server: string, ofModel?: string) => {
      // Without the dashboard's plugin there is nothing to open.
      if (app.commands.hasCommand(CommandIDs.openDashboard)) {
        const args = ofModel === undefined ? { server } : { server, model: ofModel };
        void app.commands.execute(CommandIDs.openDashboard, args);
      }
    };
    managers.add(modelServersSection(model, { stop, open }, bundle(translator)));
  }
};

const dashboard = viewPlugin({
  name: 'dashboard',
  description:
    'The dashboard of model servers, from the launcher, the palette and `workbench lab`.',
  command: CommandIDs.openDashboard,
  rank: 0,
  add: addDashboard,
  option: 'workbenchDashboard',
  args: async app => {
    // JupyterLab opens the file of the address later, and finds it then: else it would cover this.
    const path = await fileOfTheAddress(app);
    if (path !== '') {
      await app.commands.execute('docmanager:open', { path });
    }
    return { beside: true };
  }
});

const welcome = viewPlugin({
  name: 'welcome',
  description: 'The page of the labs, from the launcher, the palette and `workbench lab`.',
  command: CommandIDs.openWelcome,
  rank: 2,
  add: addWelcome,
  option: 'workbenchWelcome',
  args: async app => {
    const beside = await fileOfTheAddress(app);
    return beside === '' ? {} : { beside };
  }
});

const serve: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:serve`,
  description: "Serves folders of the user's files, from the file browser and the palette.",
  autoStart: true,
  requires: [IModelServers],
  optional: [IDefaultFileBrowser, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IModelServers,
    browser: IDefaultFileBrowser | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = bundle(translator);
    addServeCommand(app, model, browser, trans);
    offer(CommandIDs.serveFolder, trans, palette);
  }
};

const status: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:status`,
  description: 'Servers, requests a second and memory in the status bar.',
  autoStart: true,
  requires: [IStatusBar, IModelServers],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    bar: IStatusBar,
    model: IModelServers,
    translator: ITranslator | null
  ) => {
    const open = () => {
      if (app.commands.hasCommand(CommandIDs.openDashboard)) {
        void app.commands.execute(CommandIDs.openDashboard);
      }
    };
    bar.registerStatusItem(status.id, {
      item: new StatusItem(model, open, bundle(translator)),
      align: 'left',
      rank: 20
    });
  }
};

export default [servers, quickstart, dashboard, welcome, serve, running, status];
