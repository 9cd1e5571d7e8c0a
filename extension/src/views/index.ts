/** The widgets, as one module for anywidget. */

import uplotStyle from 'uplot/dist/uPlot.min.css';

import liveStyle from '../../style/live.css';
import viewsStyle from '../../style/views.css';
import type { Face } from '../protocol/generated';
import type { IModel } from '../protocol/link';
import { Card } from './card/card';
import { ComparisonView } from './comparison/comparison';
import { GuessView } from './guess/guess';
import { LedgerView } from './ledger/ledger';
import { SweepExplorerView } from './sweep/sweep';
import { TimelineView } from './timeline/timeline';
import { TransitionsView } from './transitions/transitions';

interface IView {
  dispose(): void;
}

/** The widgets by their name, which a model's `face` says. Adding one: docs/contributing.md. */
const FACES: Readonly<Record<Face, new (node: HTMLElement, model: IModel) => IView>> = {
  card: Card,
  comparison: ComparisonView,
  guess: GuessView,
  ledger: LedgerView,
  sweep: SweepExplorerView,
  timeline: TimelineView,
  transitions: TransitionsView
};

function addStyle(): void {
  const id = 'wb-widgets-style';
  if (document.getElementById(id) === null) {
    const element = document.createElement('style');
    element.id = id;
    element.textContent = [uplotStyle, liveStyle, viewsStyle].join('\n');
    document.head.append(element);
  }
}

/** Keeps the keys that a slider or a list uses from the shortcuts of the notebook around it. */
function keepKeys(event: KeyboardEvent): void {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== 'Escape';
  if (plain && (event.target as Element).matches('input, select')) {
    event.stopPropagation();
  }
}

function render({ model, el }: { model: IModel; el: HTMLElement }): () => void {
  addStyle();
  const node = document.createElement('div');
  node.className = 'wb-live';
  node.addEventListener('keydown', keepKeys);
  el.append(node);
  const view = new FACES[model.get('face') as Face](node, model);
  return () => view.dispose();
}

export default { render };
