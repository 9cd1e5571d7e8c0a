/** The card's table of versions: state, memory, labels, and the actions on each. */

import { button, make, tableHead } from '../../charts/elements';
import { bytesText } from '../../charts/text';
import { versionColour } from '../../charts/theme';
import type { IModelDescription, IVersionDescription } from '../../protocol/generated';
import { compareVersions, type Version, versionOf } from '../../protocol/version';
import { latestOf, shownVersions } from './versions_data';

export interface IVersionActions {
  backTo(version: Version): void;
  label(version: Version): void;
  unlabel(label: string): void;
}

const HEAD = ['version', 'state', 'memory (measured)', 'load time', 'labels and actions'];

export class VersionRows {
  readonly node: HTMLElement;
  private readonly _body = make('tbody');
  private _rows = new Map<string, Row>();
  private _off = false;

  constructor(private readonly _actions: IVersionActions) {
    this.node = make('table.wb-versions', [tableHead(HEAD), this._body]);
  }

  /** Update the rows in place, so that the focus stays where it is.
   * @param bytes - of memory, by version. */
  show(about: IModelDescription, bytes: (version: Version) => number, dark: boolean): void {
    const versions = shownVersions(about.versions);
    const latest = latestOf(versions);
    const most = Math.max(1, ...versions.map(each => bytes(each.version)));
    const wanted = new Map<string, Row>();
    for (const each of versions) {
      const row = this._row(String(each.version));
      const labels = Object.keys(about.labels).filter(name => about.labels[name] === each.version);
      row.show(each, bytes(each.version), most, dark);
      const earlier = latest !== null && compareVersions(each.version, latest) < 0;
      row.offer(earlier, each.state === 'AVAILABLE', labels.sort(), this._off);
      wanted.set(row.key, row);
    }
    for (const [version, reason] of Object.entries(about.waiting)) {
      const row = this._row(`waiting ${version}`);
      row.wait(version, reason);
      wanted.set(row.key, row);
    }
    this._rows = wanted;
    const there = [...this._body.children];
    const nodes = [...wanted.values()].flatMap(row =>
      row.why.hidden ? [row.node] : [row.node, row.why]
    );
    if (nodes.length !== there.length || nodes.some((node, i) => node !== there[i])) {
      // Moved elements lose the focus.
      const focused = document.activeElement as HTMLElement | null;
      this._body.replaceChildren(...nodes);
      if (focused !== null && this._body.contains(focused)) {
        focused.focus();
      }
    }
  }

  /** Disable or enable all buttons. */
  set off(off: boolean) {
    this._off = off;
    this._rows.forEach(row => row.off(off));
  }

  private _row(key: string): Row {
    return this._rows.get(key) ?? new Row(key, this._actions);
  }
}

class Row {
  readonly node: HTMLElement;
  readonly why: HTMLElement;
  private readonly _version = make('td');
  private readonly _dot = make('span');
  private readonly _state = make('span');
  private readonly _fill = make('span');
  private readonly _bytes = make('span');
  private readonly _bar = make('span.wb-membar', this._fill);
  private readonly _loaded = make('td');
  private readonly _reason = make('td.wb-why', { colspan: String(HEAD.length - 1) });
  private readonly _labels = make('span.wb-labels');
  private readonly _back: HTMLButtonElement;
  private readonly _label: HTMLButtonElement;
  private _told = '';

  constructor(
    readonly key: string,
    private readonly _actions: IVersionActions
  ) {
    const small = 'wb-button wb-small';
    this._back = button(
      `Roll back to ${key}`,
      `Serve version ${key} again, and unload all later versions`,
      () => _actions.backTo(versionOf(key)),
      small
    );
    this._label = button(
      'Label…',
      `Add a label to version ${key}, or move one to it`,
      () => _actions.label(versionOf(key)),
      small
    );
    this._back.hidden = this._label.hidden = this._bar.hidden = true;
    this.node = make('tr', [
      this._version,
      make('td', [this._dot, this._state]),
      make('td', [this._bar, this._bytes]),
      this._loaded,
      make('td.wb-actions', [this._labels, this._label, this._back])
    ]);
    this.why = make('tr', { hidden: '' }, [make('td'), this._reason]);
  }

  show(about: IVersionDescription, bytes: number, most: number, dark: boolean): void {
    const error = about.error && `${about.error.code}: ${about.error.message}`;
    const failed = error !== null;
    const looks: Record<string, string> = { AVAILABLE: 'wb-serving', END: 'wb-ended' };
    const look = failed ? 'wb-failed' : (looks[about.state] ?? 'wb-changing');
    const told = JSON.stringify([about, bytesText(bytes), Math.round((200 * bytes) / most), dark]);
    if (told === this._told) {
      return;
    }
    this._told = told;
    this._version.textContent = String(about.version);
    this._dot.className = `wb-dot ${look}`;
    const state = about.state === 'END' ? 'ended' : about.state.toLowerCase();
    this._state.textContent = failed ? 'failed' : state;
    this._bar.hidden = bytes <= 0;
    this._fill.style.width = `${(100 * bytes) / most}%`;
    this._fill.style.background = versionColour(about.version, dark);
    this._bytes.textContent = bytes > 0 ? bytesText(bytes) : '';
    this._loaded.textContent = about.load_seconds ? `${about.load_seconds.toFixed(2)} s` : '';
    this._explain(failed ? [error] : about.notes, failed ? 'wb-why' : 'wb-soft');
    this.node.classList.toggle('wb-past', about.state === 'END' && !failed);
  }

  /** Show its labels, and the buttons that apply. */
  offer(back: boolean, label: boolean, labels: readonly string[], off: boolean): void {
    this._back.hidden = !back;
    this._label.hidden = !label;
    const told = labels.join();
    if (this._labels.dataset.told !== told) {
      this._labels.dataset.told = told;
      this._labels.replaceChildren(...labels.map(name => this._chip(name)));
    }
    this.off(off);
  }

  /** Show a version whose folder is incomplete. */
  wait(version: string, reason: string): void {
    this._version.textContent = version;
    this._dot.className = 'wb-dot wb-ended';
    this._state.textContent = 'waiting';
    this._explain([reason], 'wb-soft');
  }

  /** Show sentences below the row, or nothing. */
  private _explain(sentences: readonly string[], look: string): void {
    this._reason.replaceChildren(...sentences.map(text => make('div', text)));
    this._reason.className = look;
    this.why.hidden = sentences.length === 0;
  }

  off(off: boolean): void {
    for (const each of this.node.querySelectorAll('button')) {
      each.disabled = off;
    }
  }

  private _chip(name: string): HTMLElement {
    const title = `Remove label ${name}`;
    const remove = button('×', title, () => this._actions.unlabel(name), 'wb-chip-x');
    remove.setAttribute('aria-label', title);
    return make('span.wb-chip', [name, remove]);
  }
}

/** The form below the table for a label's name. */
export class LabelForm {
  readonly node: HTMLFormElement;
  private readonly _known = make('datalist', { id: `wb-labels-${(made += 1)}` });
  private readonly _name = make('input', {
    type: 'text',
    required: '',
    maxlength: '100',
    placeholder: 'e.g. stable',
    list: this._known.id
  });
  private readonly _set = make('button.wb-button', { type: 'submit' });
  private _version: Version = 0;
  private _from: HTMLElement | null = null;

  /** @param set - gives a version the name. */
  constructor(set: (name: string, version: Version) => void) {
    this.node = make('form.wb-controls.wb-buttons', { hidden: '' }, [
      this._name,
      this._known,
      this._set,
      button('Cancel', 'Cancel (Escape)', () => this.close())
    ]);
    this.node.addEventListener('submit', event => {
      event.preventDefault();
      const name = this._name.value.trim();
      if (name !== '') {
        set(name, this._version);
      }
    });
    this.node.addEventListener('keydown', event => {
      // Keep typed keys from the shortcuts of the notebook.
      event.stopPropagation();
      if (event.key === 'Escape') {
        this.close();
      }
    });
  }

  open(version: Version, known: readonly string[]): void {
    this._version = version;
    this._from = document.activeElement as HTMLElement | null;
    this._name.setAttribute('aria-label', `Label of version ${version}`);
    this._name.value = '';
    this._set.textContent = `Label version ${version}`;
    this._known.replaceChildren(...known.map(value => make('option', { value })));
    this.node.hidden = false;
    this._name.focus();
  }

  close(): void {
    this.node.hidden = true;
    this._from?.focus();
  }
}

let made = 0;
