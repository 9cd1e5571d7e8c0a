/** The command that opens the glossary, from the Help menu, the palette and our other pages. */

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator } from '@jupyterlab/translation';

// Part of the build, so that it opens without a network.
import glossary from '../../../docs/glossary.md';
import { CommandIDs } from '../servers/tokens';
import { MainView } from './main_view';
import { takes } from './messages';
import { bundle, NAME, offer } from './offer';

const MARKDOWN = 'text/markdown';

export const glossaryPlugin: JupyterFrontEndPlugin<void> = {
  id: `${NAME}:glossary`,
  description: 'Opens the glossary of model serving.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ICommandPalette, ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    rendermime: IRenderMimeRegistry,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ) => {
    const trans = bundle(translator);
    const view = new MainView(app, restorer, {
      id: 'workbench-glossary',
      label: trans.__('Glossary'),
      caption: trans.__('Glossary of model serving'),
      command: CommandIDs.openGlossary,
      make: () => {
        const content = rendermime.createRenderer(MARKDOWN);
        content.addClass('wb-Glossary');
        void content.renderModel(rendermime.createModel({ data: { [MARKDOWN]: glossary } }));
        return content;
      }
    });
    app.commands.addCommand(CommandIDs.openGlossary, {
      label: trans.__('Model Serving Glossary'),
      caption: trans.__('The terms of model serving in plain words'),
      describedBy: takes(trans),
      execute: () => {
        const widget = view.show({});
        app.shell.activateById(widget.id);
        return widget;
      }
    });
    offer(CommandIDs.openGlossary, trans, palette);
  }
};
