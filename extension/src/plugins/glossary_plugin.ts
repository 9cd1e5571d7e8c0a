/** The command that opens the glossary, from the Help menu, the palette and our other pages. */

import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';

// Part of the build, so that it opens without a network.
import glossary from '../../../docs/glossary.md';
import { CommandIDs } from '../servers/tokens';
import { MainView } from './main_view';
import { takes } from './messages';
import { offer, plugin } from './offer';

const MARKDOWN = 'text/markdown';

export const glossaryPlugin = plugin(
  {
    name: 'glossary',
    description: 'Opens the glossary of model serving.',
    requires: [IRenderMimeRegistry],
    optional: [ICommandPalette, ILayoutRestorer]
  },
  (app, trans, rendermime, palette, restorer) => {
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
);
