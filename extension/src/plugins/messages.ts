import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { errorText } from '../charts/text';

/** Notify the user of a failure, with the error's own message. */
export function tell(what: string, error: unknown): void {
  Notification.error(`${what}: ${errorText(error)}`, { autoClose: false });
}

/** Notify the user that a server starts, and then of the outcome; resolves to whether it is ready. */
export async function starting(
  server: string,
  what: string,
  work: Promise<unknown>,
  trans: TranslationBundle
): Promise<boolean> {
  Notification.promise(work as Promise<null>, {
    pending: { message: what },
    success: {
      message: () => trans.__('Server "%1" is ready.', server),
      options: { autoClose: 3000 }
    },
    error: { message: errorText, options: { autoClose: false } }
  });
  return work.then(
    () => true,
    () => false
  );
}

/** A command's arguments, for `describedBy`: those of every palette command, and `more`. */
export function takes(trans: TranslationBundle, more: ReadonlyPartialJSONObject = {}) {
  return {
    args: {
      type: 'object',
      properties: {
        isPalette: {
          type: 'boolean',
          description: trans.__('Whether the label is for the command palette')
        },
        ...more
      }
    }
  };
}

/** The argument that the launcher passes to every command. */
export function cwd(trans: TranslationBundle) {
  return {
    cwd: { type: 'string', description: trans.__('Set by the launcher; ignored') }
  };
}
