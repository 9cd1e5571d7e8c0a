/** The balancing policies side by side: numbers, and the 99th percentile as bars. */

import { button, make, replaceKeeping, tableHead } from '../../charts/elements';
import { microsText, percent, type IFleet } from './fleet_data';

export class PolicyTable {
  private readonly _body = make('tbody');
  readonly node = make('table.wb-policies', [
    tableHead(['policy', 'p50', 'p99', 'p99 compared', 'longest queue', 'failed']),
    this._body
  ]);

  /** @param _choose - called with the policy that the reader has pressed. */
  constructor(
    private readonly _names: ReadonlyMap<string, string>,
    private readonly _choose: (policy: string) => void
  ) {}

  show({ policies, choice }: IFleet): void {
    const most = Math.max(1, ...policies.map(each => each.p99 ?? 0));
    const lines = policies.map(each => {
      const name = this._names.get(each.policy) ?? each.policy;
      const chosen = each.policy === choice.policy;
      const choose = button(
        name,
        `Show the fleet with ${name}`,
        () => this._choose(each.policy),
        'wb-link'
      );
      choose.dataset.key = each.policy;
      choose.setAttribute('aria-pressed', String(chosen));
      const width = `width:${(100 * (each.p99 ?? 0)) / most}%`;
      const cells = [
        make('td', choose),
        make('td', microsText(each.p50)),
        make('td', microsText(each.p99)),
        make('td.wb-barred', make('span.wb-level', { style: width, 'aria-hidden': 'true' })),
        make('td', String(each.longest)),
        make('td', percent(each.failed))
      ];
      return make('tr', { class: chosen ? 'wb-chosen' : '' }, cells);
    });
    replaceKeeping(this._body, lines);
  }
}
