/** The dashboard's panel of the memory ledger. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { make, say } from '../../charts/elements';
import { bytesText } from '../../charts/text';
import type { ILedger } from '../../protocol/generated';
import { panel } from '../panel';
import { DeviceList } from './device_list';

export class LedgerPanel {
  readonly node: HTMLElement;
  private readonly _devices = new DeviceList();
  private readonly _notes = make('p.wb-soft');
  private _drawn = '';

  constructor(trans: TranslationBundle) {
    this.node = panel(trans.__('Memory ledger'), 'ledger', this._devices.node, this._notes);
  }

  show({ devices, notes }: ILedger): void {
    // A page at rest is not laid out again: bytes are compared as they are written.
    const drawn = JSON.stringify(devices, (_, value: unknown) =>
      typeof value === 'number' ? bytesText(value) : value
    );
    if (drawn !== this._drawn) {
      this._drawn = drawn;
      this._devices.show(devices);
    }
    say(this._notes, notes.join('\n'));
    this._notes.hidden = notes.length === 0;
  }

  dispose(): void {
    this._devices.dispose();
  }
}
