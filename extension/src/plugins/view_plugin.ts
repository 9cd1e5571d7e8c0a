/** The plugins of the views of the main area. */

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { ILauncher } from '@jupyterlab/launcher';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { Widget } from '@lumino/widgets';

import { IModelServers } from '../servers/tokens';
import type { MainView } from './main_view';
import { offer, plugin } from './offer';

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
  /** The page option by which `workbench lab` opens it at the start. */
  option: string;
  /** The arguments of its command then. */
  args(app: JupyterFrontEnd): Promise<ReadonlyPartialJSONObject>;
}

/** The plugin of a view of the main area. */
export function viewPlugin(options: IViewOptions): JupyterFrontEndPlugin<void> {
  const { name, description, command, rank, add, option, args } = options;
  return plugin(
    {
      name,
      description,
      requires: [IModelServers],
      optional: [ILauncher, ICommandPalette, ILayoutRestorer]
    },
    (app, trans, model, launcher, palette, restorer) => {
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
  );
}

/** The file in the page's address; '' if there is none, or a folder. */
export async function fileOfTheAddress(app: JupyterFrontEnd): Promise<string> {
  const path = PageConfig.getOption('treePath');
  try {
    const { type } = await app.serviceManager.contents.get(path, { content: false });
    return type === 'directory' ? '' : path;
  } catch {
    return '';
  }
}
