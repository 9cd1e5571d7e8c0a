/** Putting a cell into a notebook, through what JupyterLab's notebook panels and commands offer. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { Widget } from '@lumino/widgets';

/** The part of a notebook panel that is needed here, without its package. */
interface INotebookPanel extends Widget {
  readonly content: {
    readonly activeCell: {
      readonly model: { readonly sharedModel: { setSource(text: string): void } };
    } | null;
  };
}

function isNotebook(widget: Widget): widget is INotebookPanel {
  return widget.hasClass('jp-NotebookPanel') && 'content' in widget;
}

/** Put `code` below the active cell of a notebook; a visible notebook is preferred. */
export async function insertCell(app: JupyterFrontEnd, code: string): Promise<boolean> {
  const notebooks = [...app.shell.widgets('main')].filter(isNotebook);
  const panel = notebooks.find(widget => widget.isVisible) ?? notebooks[0];
  if (panel === undefined) {
    return false;
  }
  // The command works on the current notebook.
  app.shell.activateById(panel.id);
  await app.commands.execute('notebook:insert-cell-below');
  panel.content.activeCell?.model.sharedModel.setSource(code);
  return true;
}
