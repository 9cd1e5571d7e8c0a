/** The widgets, as one module for anywidget: `face` says which of them a model is. */

import uplotStyle from 'uplot/dist/uPlot.min.css';

import { Card } from './card';
import { ComparisonView } from './comparison';
import { GuessView } from './guess';
import { LedgerView } from './ledger';
import type { IModel } from './link';
import style from './style.css';
import { TimelineView } from './timeline';

interface IView {
  dispose(): void;
}

const FACES: Record<string, new (node: HTMLElement, model: IModel) => IView> = {
  card: Card,
  comparison: ComparisonView,
  guess: GuessView,
  ledger: LedgerView,
  timeline: TimelineView
};

function addStyle(): void {
  const id = 'wb-widgets-style';
  if (document.getElementById(id) === null) {
    const element = document.createElement('style');
    element.id = id;
    element.textContent = `${uplotStyle}\n${style}`;
    document.head.append(element);
  }
}

function render({ model, el }: { model: IModel; el: HTMLElement }): () => void {
  addStyle();
  const node = document.createElement('div');
  node.className = 'wb-live';
  el.append(node);
  const view = new FACES[model.get('face') as string](node, model);
  return () => view.dispose();
}

export default { render };
