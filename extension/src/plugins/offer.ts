/** What all plugins share: their form, and their commands' places in palette and launcher. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject, Token } from '@lumino/coreutils';

/** After Notebook (0) and Console (20), before Other (100). */
const LAUNCHER_RANK = 50;

type Tokens<T extends unknown[]> = [...{ [K in keyof T]: Token<T[K]> }];
type OrNull<T extends unknown[]> = { [K in keyof T]: T[K] | null };

/** A plugin of this extension; `activate` gets the services that are required, and then the optional
 * ones, null where JupyterLab has none. */
export function plugin<R extends unknown[], O extends unknown[], P = void>(
  about: {
    name: string;
    description: string;
    requires: Tokens<R>;
    optional: Tokens<O>;
    provides?: Token<P>;
  },
  activate: (app: JupyterFrontEnd, trans: TranslationBundle, ...services: [...R, ...OrNull<O>]) => P
): JupyterFrontEndPlugin<P> {
  const { name, optional, ...others } = about;
  return {
    ...others,
    id: `serving-workbench-lab:${name}`,
    autoStart: true,
    optional: [...optional, ITranslator],
    activate: (app: JupyterFrontEnd, ...services: unknown[]) => {
      // English where there is no translator.
      const translator = (services.pop() as ITranslator | null) ?? nullTranslator;
      const trans = translator.load('serving_workbench_lab');
      return activate(app, trans, ...(services as [...R, ...OrNull<O>]));
    }
  };
}

/** Offer a command in the palette, and in the launcher where one is given. */
export function offer(
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

/** A function that runs a command; null if the command's plugin is disabled. */
export function runner(
  { commands }: JupyterFrontEnd,
  command: string
): ((args?: ReadonlyPartialJSONObject) => Promise<unknown>) | null {
  return commands.hasCommand(command) ? args => commands.execute(command, args) : null;
}
