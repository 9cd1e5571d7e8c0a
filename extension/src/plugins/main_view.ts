/** The single widget of a view of the main area, restored after a reload. */

import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { Widget } from '@lumino/widgets';

import { workbenchIcon } from '../servers/icons';

export interface IMainViewOptions<T extends Widget> {
  id: string;
  label: string;
  caption: string;
  /** The command that opens it, also after a reload. */
  command: string;
  make(): T;
  /** The command's arguments after a reload; none by default. */
  args?(content: T): ReadonlyPartialJSONObject;
}

export class MainView<T extends Widget> {
  private readonly _tracker: WidgetTracker<MainAreaWidget<T>>;

  constructor(
    private readonly _app: JupyterFrontEnd,
    restorer: ILayoutRestorer | null,
    private readonly _options: IMainViewOptions<T>
  ) {
    const { id, command, args } = _options;
    this._tracker = new WidgetTracker({ namespace: id });
    void restorer?.restore(this._tracker, {
      command,
      args: widget => args?.(widget.content) ?? {},
      name: () => id
    });
  }

  get isOpen(): boolean {
    return this._tracker.size > 0;
  }

  /** The widget; made and added to the main area if it is not there. */
  show(place: { mode?: 'split-left' | 'split-right'; activate?: boolean }): MainAreaWidget<T> {
    const there = this._tracker.find(() => true);
    if (there !== undefined) {
      return there;
    }
    const { id, label, caption, make } = this._options;
    const content = make();
    content.addClass('wb-MainView');
    const widget = new MainAreaWidget({ content });
    widget.id = id;
    widget.title.label = label;
    widget.title.caption = caption;
    widget.title.icon = workbenchIcon;
    widget.title.closable = true;
    widget.toolbar.hide();
    void this._tracker.add(widget);
    this._app.shell.add(widget, 'main', place);
    return widget;
  }

  /** Save the command's arguments for the next reload. */
  keep(): void {
    this._tracker.forEach(widget => void this._tracker.save(widget));
  }
}
