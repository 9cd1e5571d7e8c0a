import type { TranslationBundle } from '@jupyterlab/translation';

import { dataTable, make } from '../../charts/elements';
import { bytesText } from '../../charts/text';
import { themeOf, versionColour } from '../../charts/theme';
import type { ICell, ILedger } from '../../protocol/api';
import { panel } from '../panel';

/** Who holds which memory. */
export class LedgerPanel {
  readonly node: HTMLElement;
  private readonly _body = make('div');
  private _drawn = '';

  constructor(private readonly _trans: TranslationBundle) {
    this.node = panel(_trans.__('Memory ledger'), 'ledger', this._body);
  }

  show(ledger: ILedger): void {
    const trans = this._trans;
    const { dark } = themeOf(this._body);
    const told = ledger.cells.map(cell => [
      whose(cell),
      cell.kind,
      bytesText(cell.bytes),
      cell.how
    ]);
    const limits = Object.values(ledger.budget).map(each => Object.values(each).map(bytesText));
    const drawn = JSON.stringify([told, limits, ledger.notes, dark]);
    if (drawn === this._drawn) {
      return;
    }
    this._drawn = drawn;
    const parts: Node[] = [];
    for (const machine of ledger.machines) {
      const cells = ledger.cells.filter(cell => cell.device === machine.device);
      const budget = ledger.budget[machine.device];
      const limits =
        budget === undefined
          ? ''
          : `, ${trans.__(
              'budget %1: %2 reserved, %3 free',
              bytesText(budget.limit),
              bytesText(budget.reserved),
              bytesText(budget.free)
            )}`;
      parts.push(
        make(
          'p',
          { class: 'wb-soft' },
          `${machine.device}: ${bytesText(machine.total)} (${machine.scope})${limits}`
        ),
        this._bar(cells, machine.total),
        dataTable(
          trans.__('Memory of %1', machine.device),
          [trans.__('who'), trans.__('what'), trans.__('how much'), trans.__('known')].map(String),
          cells
            .filter(cell => cell.bytes !== 0)
            .map(cell => [whose(cell), cell.kind, bytesText(cell.bytes), cell.how])
        )
      );
    }
    for (const note of ledger.notes) {
      parts.push(make('p', { class: 'wb-soft' }, note));
    }
    this._body.replaceChildren(...parts);
  }

  private _bar(cells: readonly ICell[], total: number): HTMLElement {
    const { dark } = themeOf(this._body);
    const bar = make('div', { class: 'wb-LedgerBar', role: 'img' });
    const told: string[] = [];
    for (const cell of cells) {
      const size = Math.max(0, cell.bytes);
      if (size > 0) {
        const text = `${whose(cell)}, ${cell.kind}: ${bytesText(size)}`;
        const part = make('span', { class: `wb-LedgerBar-${cell.owner}`, title: text });
        part.dataset.kind = cell.kind;
        part.style.width = `${(100 * size) / Math.max(1, total)}%`;
        if (cell.version !== null) {
          part.style.background = versionColour(cell.version, dark);
        }
        told.push(text);
        bar.append(part);
      }
    }
    bar.setAttribute('aria-label', told.join('; '));
    return bar;
  }
}

function whose(cell: ICell): string {
  return cell.model === null ? cell.owner : `${cell.model} ${cell.version ?? ''}`.trim();
}
