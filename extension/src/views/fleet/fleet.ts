/** The fleet explorer: sliders, the servers as lanes, latency over time, and the policies side by
 * side. The kernel simulates each new position of the sliders. */

import { dataTable, make, StatusLine, Twin } from '../../charts/elements';
import { ScaleSlider } from '../../charts/slider';
import { onThemeChange } from '../../charts/theme';
import { FLEET_SLIDERS } from '../../protocol/generated';
import { Latest, Link, type IModel } from '../../protocol/link';
import { FleetChart } from './fleet_chart';
import {
  ROW_TITLES,
  rows,
  sameChoice,
  TITLES,
  valueText,
  workText,
  type Choice,
  type IFleet,
  type SliderName
} from './fleet_data';
import { FleetLegend } from './fleet_legend';
import { PolicyTable } from './policy_table';

interface IAbout {
  title: string;
  service: string;
  scales: Record<SliderName, number[]>;
  meanings: Record<SliderName, string>;
  /** Values with their names. */
  policies: [string, string][];
  events: [string, string][];
}

/** After so long without an answer, the kernel is busy or gone. */
const LATE_MILLIS = 4000;

export class FleetExplorerView {
  private readonly _about: IAbout;
  private readonly _link: Link;
  private readonly _chart: FleetChart;
  private readonly _endTheme: () => void;
  private readonly _sliders: Map<SliderName, ScaleSlider>;
  private readonly _policy: HTMLSelectElement;
  private readonly _event: HTMLSelectElement;
  private readonly _table: PolicyTable;
  private readonly _legend = new FleetLegend();
  private readonly _work = make('span.wb-soft.wb-end');
  private readonly _sentence = make('p.wb-summary', { 'aria-live': 'polite' });
  private readonly _policies = make('span.wb-soft');
  private readonly _message = new StatusLine();
  private readonly _twin = new Twin(() =>
    dataTable('The charts as numbers', ROW_TITLES, this._fleet === null ? [] : rows(this._fleet))
  );
  private readonly _choices = new Latest((choice: Choice) => this._simulate(choice));
  private _fleet: IFleet | null = null;
  private _choice: Choice | null = null;
  /** Whether the kernel has not answered the reader's last choice yet. */
  private _ahead = false;

  constructor(node: HTMLElement, model: IModel) {
    this._about = model.get('about') as IAbout;
    const { title, service, meanings, policies, events } = this._about;
    this._sliders = new Map(
      FLEET_SLIDERS.map(name => {
        const moved = (value: number) => this._choose({ [name]: value });
        return [name, new ScaleSlider(TITLES[name], moved, meanings[name])];
      })
    );
    this._policy = choices('policy', policies, policy => this._choose({ policy }));
    this._event = choices('event', events, event => this._choose({ event }));
    this._table = new PolicyTable(new Map(policies), policy => this._choose({ policy }));
    this._message.node.classList.add('wb-quiet');
    const charts = make('div.wb-charts.wb-still');
    node.append(
      make('div.wb-head', [
        make('span.wb-name', title),
        make('span.wb-soft.wb-known.wb-end', service)
      ]),
      make('div.wb-section', [
        make(
          'div.wb-sliders',
          [...this._sliders.values()].map(slider => slider.node)
        ),
        make('div.wb-controls.wb-buttons', [
          make('label', ['policy', this._policy]),
          make('label', ['event', this._event]),
          make('span.wb-end', this._twin.button)
        ]),
        this._message.node
      ]),
      make('div.wb-section.wb-fleet-explorer', [this._sentence, this._legend.node, charts]),
      make('div.wb-section', [
        make('div.wb-container', make('div.wb-scroll', this._table.node)),
        make('div.wb-controls.wb-foot', [this._policies, this._work])
      ]),
      make('div.wb-section.wb-scroll.wb-last', this._twin.node)
    );
    this._chart = new FleetChart(charts);
    this._endTheme = onThemeChange(() => this._draw());
    this._link = new Link(model, node);
    this._link.onNews = message => {
      if (message.kind === 'fleet') {
        this._show(message.fleet as IFleet);
      }
    };
  }

  dispose(): void {
    this._link.dispose();
    this._chart.dispose();
    this._endTheme();
  }

  /** Show at once what the reader has chosen, and simulate it. */
  private _choose(change: Partial<Choice>): void {
    if (this._choice !== null) {
      this._choice = { ...this._choice, ...change };
      this._ahead = true;
      this._showChoice();
      this._choices.push(this._choice);
    }
  }

  private async _simulate(choice: Choice): Promise<void> {
    const late = setTimeout(
      () => this._message.say('The notebook’s kernel has not answered: it is busy or gone.', false),
      LATE_MILLIS
    );
    const { ok, text } = await this._link.order('simulate', { choice });
    clearTimeout(late);
    this._message.say(text, ok);
    this._ahead &&= ok;
  }

  private _show(fleet: IFleet): void {
    this._fleet = fleet;
    this._ahead &&= this._choice === null || !sameChoice(this._choice, fleet.choice);
    // A cell may have moved the sliders; a position that is not simulated yet stays.
    if (!this._ahead) {
      this._choice = fleet.choice;
      this._showChoice();
    }
    this._draw();
  }

  private _showChoice(): void {
    const choice = this._choice;
    if (choice === null) {
      return;
    }
    for (const [name, slider] of this._sliders) {
      const value = choice[name];
      if (!slider.dragging) {
        slider.show(scaleWith(this._about.scales[name], value), value, valueText(name, value));
      } else {
        slider.say(valueText(name, value));
      }
    }
    this._policy.value = choice.policy;
    this._event.value = choice.event;
  }

  private _draw(): void {
    const fleet = this._fleet;
    if (fleet === null) {
      return;
    }
    this._work.textContent = workText(fleet);
    this._sentence.textContent = fleet.sentence;
    this._policies.textContent = fleet.policiesSentence;
    this._legend.show(fleet);
    this._chart.show(fleet);
    this._table.show(fleet);
    this._twin.fill();
  }
}

/** The scale with a value that a cell has chosen between two of its steps. */
function scaleWith(scale: readonly number[], value: number): readonly number[] {
  return scale.includes(value) ? scale : [...scale, value].sort((a, b) => a - b);
}

/** A list of values with their names. */
function choices(
  label: string,
  values: readonly (readonly [string, string])[],
  choose: (value: string) => void
): HTMLSelectElement {
  const select = make(
    'select',
    { 'aria-label': label },
    values.map(([value, name]) => make('option', { value }, name))
  );
  select.addEventListener('change', () => choose(select.value));
  return select;
}
