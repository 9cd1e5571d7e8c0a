/** The model of running servers, and the commands that act on them. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator } from '@jupyterlab/translation';

import { ModelServers, REFRESH_SECONDS } from '../servers/model_servers';
import { CommandIDs, IModelServers } from '../servers/tokens';
import { bundle, NAME, offer } from './offer';
import { addServerCommands } from './server_commands';

export const serversPlugin: JupyterFrontEndPlugin<IModelServers> = {
  id: `${NAME}:servers`,
  description:
    'Keeps the list of model servers up to date, and adds the commands that act on them.',
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
};
