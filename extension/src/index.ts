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
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { addServerCommands } from './commands';
import { addDashboard } from './dashboard/open';
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
      palette?.addItem({ command, category: trans.__('Serving'), args: { isPalette: true } });
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
    const category = trans.__('Serving');
    const command = CommandIDs.openQuickstart;
    addQuickstartCommand(app, trans);
    launcher?.add({ command, category, rank: 1, categoryRank: LAUNCHER_RANK });
    palette?.addItem({ command, category, args: { isPalette: true } });
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

const dashboard: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:dashboard`,
  description: 'The dashboard of model servers, from the launcher, the palette and `workbench lab`.',
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
    const category = trans.__('Serving');
    const command = CommandIDs.openDashboard;
    const tracker = addDashboard(app, model, restorer, trans);
    launcher?.add({ command, category, rank: 0, categoryRank: LAUNCHER_RANK });
    palette?.addItem({ command, category, args: { isPalette: true } });
    if (PageConfig.getOption('workbenchDashboard') === 'open') {
      void app.restored.then(() => {
        if (tracker.size === 0) {
          return app.commands.execute(command, { beside: true });
        }
      });
    }
  }
};

const welcome: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:welcome`,
  description: 'The page of the labs, from the launcher, the palette and `workbench lab`.',
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
    const category = trans.__('Serving');
    const command = CommandIDs.openWelcome;
    const tracker = addWelcome(app, model, restorer, trans);
    launcher?.add({ command, category, rank: 2, categoryRank: LAUNCHER_RANK });
    palette?.addItem({ command, category, args: { isPalette: true } });
    if (PageConfig.getOption('workbenchWelcome') === 'open') {
      void app.restored.then(() => {
        if (tracker.size === 0) {
          const beside = PageConfig.getOption('treePath');
          return app.commands.execute(command, beside === '' ? {} : { beside });
        }
      });
    }
  }
};

const serve: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:serve`,
  description: 'Serves folders of the user\'s files, from the file browser and the palette.',
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
    const command = CommandIDs.serveFolder;
    palette?.addItem({ command, category: trans.__('Serving'), args: { isPalette: true } });
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
