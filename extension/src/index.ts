/** The plugins. Each is small, and works where what it can do without is missing. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { IRunningSessionManagers } from '@jupyterlab/running';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { addServerCommands } from './commands';
import { addQuickstartCommand } from './quickstart';
import { modelServersSection } from './running';
import { ModelServers, REFRESH_SECONDS } from './servers';
import { CommandIDs, IModelServers } from './tokens';

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
    for (const command of [CommandIDs.stopServer, CommandIDs.refresh]) {
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
    managers.add(modelServersSection(model, stop, bundle(translator)));
  }
};

export default [servers, quickstart, running];
