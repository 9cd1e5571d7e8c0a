/** What every plugin needs: its id, its texts, and its commands' places in palette and launcher. */

import type { ICommandPalette } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import { type ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';

export const NAME = 'serving-workbench-lab';

/** After Notebook (0) and Console (20), before Other (100). */
const LAUNCHER_RANK = 50;

/** The translations of our texts; English where there are none. */
export function bundle(translator: ITranslator | null) {
  return (translator ?? nullTranslator).load('serving_workbench_lab');
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
