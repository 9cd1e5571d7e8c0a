/** The widgets, as one module for anywidget. */

import uplotStyle from 'uplot/dist/uPlot.min.css';

import liveStyle from '../../style/live.css';
import viewsStyle from '../../style/views.css';
import { make } from '../charts/elements';
import type { Face } from '../protocol/generated';
import { Link, type IModel } from '../protocol/link';
import { type ICardAbout, ServerCard } from './card/card';
import { ComparisonView } from './comparison/comparison';
import { FleetExplorerView } from './fleet/fleet';
import { FleetCardView } from './fleet/fleet_card';
import { GuessView } from './guess/guess';
import { LedgerView } from './ledger/ledger';
import { SweepExplorerView } from './sweep/sweep';
import { type ITimelineAbout, LiveTimeline } from './timeline/timeline';
import { TransitionsView } from './transitions/transitions';

interface IView {
  dispose(): void;
}

/** The widgets by their name, which a model's `face` says. Adding one: docs/contributing.md. */
const FACES: Readonly<Record<Face, (node: HTMLElement, model: IModel) => IView>> = {
  card: (node, model) =>
    new ServerCard(node, model.get('about') as ICardAbout, new Link(model, node)),
  comparison: (node, model) => new ComparisonView(node, model),
  fleetCard: (node, model) => new FleetCardView(node, model),
  fleet: (node, model) => new FleetExplorerView(node, model),
  guess: (node, model) => new GuessView(node, model),
  ledger: (node, model) => new LedgerView(node, model),
  sweep: (node, model) => new SweepExplorerView(node, model),
  timeline: (node, model) =>
    new LiveTimeline(node, model.get('about') as ITimelineAbout, new Link(model, node)),
  transitions: (node, model) => new TransitionsView(node, model)
};

function addStyle(): void {
  const id = 'wb-widgets-style';
  if (document.getElementById(id) === null) {
    document.head.append(make('style', { id }, [uplotStyle, liveStyle, viewsStyle].join('\n')));
  }
}

/** Hides the keys of sliders and lists from the notebook's shortcuts. */
function keepKeys(event: KeyboardEvent): void {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== 'Escape';
  if (plain && (event.target as Element).matches('input, select')) {
    event.stopPropagation();
  }
}

function render({ model, el }: { model: IModel; el: HTMLElement }): () => void {
  addStyle();
  const node = make('div.wb-live');
  node.addEventListener('keydown', keepKeys);
  el.append(node);
  const view = FACES[model.get('face') as Face](node, model);
  return () => view.dispose();
}

export default { render };
