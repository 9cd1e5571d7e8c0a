import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

/** Tell the user what went wrong, in the words of whoever knows. */
export function tell(what: string, error: unknown): void {
  const why = error instanceof Error ? error.message : String(error);
  Notification.error(`${what}: ${why}`, { autoClose: false });
}

/** The argument that all commands of the palette take, for `describedBy`. */
export function isPalette(trans: TranslationBundle) {
  return {
    isPalette: {
      type: 'boolean',
      description: trans.__('Whether the command is shown in the command palette')
    }
  };
}
