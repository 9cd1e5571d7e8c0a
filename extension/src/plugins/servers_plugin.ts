/** The model of running servers, and the commands that act on them. */

import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { ModelServers, REFRESH_SECONDS } from '../servers/model_servers';
import { CommandIDs, IModelServers } from '../servers/tokens';
import { offer, plugin } from './offer';
import { addServerCommands } from './server_commands';

export const serversPlugin: JupyterFrontEndPlugin<IModelServers> = plugin(
  {
    name: 'servers',
    description:
      'Keeps the list of model servers up to date, and adds the commands that act on them.',
    requires: [],
    optional: [ISettingRegistry, ICommandPalette],
    provides: IModelServers
  },
  (app, trans, registry, palette): IModelServers => {
    const model = new ModelServers(app.serviceManager.serverSettings);
    // A kernel may supervise a server, so a kernel that starts or ends may change the list.
    app.serviceManager.kernels.runningChanged.connect(() => void model.refresh());
    registry
      ?.load(serversPlugin.id)
      .then(settings => {
        const apply = () => {
          const seconds = settings.get('refreshSeconds').composite;
          model.refreshSeconds = typeof seconds === 'number' ? seconds : REFRESH_SECONDS;
        };
        settings.changed.connect(apply);
        apply();
      })
      .catch(error => console.warn(`Cannot read the settings of ${serversPlugin.id}`, error));
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
);
