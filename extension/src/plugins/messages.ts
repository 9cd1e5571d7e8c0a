import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

/** Tell the user what went wrong, in the words of whoever knows. */
export function tell(what: string, error: unknown): void {
  const why = error instanceof Error ? error.message : String(error);
  Notification.error(`${what}: ${why}`, { autoClose: false });
}

/** Tell that something is under way, and then how it went; resolves to whether it went well. */
export async function starting(
  what: string,
  work: Promise<unknown>,
  trans: TranslationBundle
): Promise<boolean> {
  Notification.promise(work as Promise<null>, {
    pending: { message: what },
    success: { message: () => trans.__('It answers.'), options: { autoClose: 3000 } },
    error: {
      message: reason => (reason instanceof Error ? reason.message : String(reason)),
      options: { autoClose: false }
    }
  });
  return work.then(
    () => true,
    () => false
  );
}

/** What a command takes, for `describedBy`: what all commands of the palette do, and more. */
export function takes(trans: TranslationBundle, more: ReadonlyPartialJSONObject = {}) {
  return {
    args: {
      type: 'object',
      properties: {
        isPalette: {
          type: 'boolean',
          description: trans.__('Whether the command is shown in the command palette')
        },
        ...more
      }
    }
  };
}

/** The argument that the launcher gives to all that it starts. */
export function cwd(trans: TranslationBundle) {
  return {
    cwd: { type: 'string', description: trans.__('Given by the launcher; it plays no part') }
  };
}
