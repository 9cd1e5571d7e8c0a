/** Making elements: text is always text, never markup. */

import type { IOutcome } from '../protocol/link';

export type Child = Node | string;
type Tag = keyof HTMLElementTagNameMap;

/** An element.
 *
 * @param selector - its tag and classes, as in `div.wb-section`.
 * @param parts - a child, several, or attributes (`title`, `aria-...`). */
export function make<K extends Tag>(
  selector: K | `${K}.${string}`,
  ...parts: (Child | Child[] | Record<string, string>)[]
): HTMLElementTagNameMap[K] {
  const [tag, ...classes] = selector.split('.');
  const element = document.createElement(tag as K);
  element.classList.add(...classes);
  for (const part of parts) {
    if (typeof part === 'string' || part instanceof Node) {
      element.append(part);
    } else if (Array.isArray(part)) {
      element.append(...part);
    } else {
      Object.entries(part).forEach(([name, value]) => element.setAttribute(name, value));
    }
  }
  return element;
}

/** Set a node's text, unless it is the same: a page at rest is not laid out again. */
export function say(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** A line for the progress and the outcome of orders. */
export class StatusLine {
  readonly node = make('p.wb-message', { role: 'status' });

  say(text: string, ok = true): void {
    this.node.textContent = text;
    this.node.classList.toggle('wb-bad', !ok);
  }

  /** Show what an order does, and then its outcome; resolves to whether it succeeded. */
  async follow(doing: string, order: Promise<IOutcome>): Promise<boolean> {
    this.say(doing);
    const { ok, text } = await order;
    this.say(text, ok);
    return ok;
  }
}

/** Show how much is done, from 0 to 1; null: not known. */
export function showShare(bar: HTMLProgressElement, share: number | null): void {
  if (share === null) {
    bar.removeAttribute('value');
  } else {
    bar.value = share;
  }
}

/** Replace the children of a node, and focus the one with the `data-key` that had the focus. */
export function replaceKeeping(node: HTMLElement, children: readonly Node[]): void {
  const focused = document.activeElement as HTMLElement | null;
  const key = node.contains(focused) ? focused?.dataset.key : undefined;
  node.replaceChildren(...children);
  const again = [...node.querySelectorAll<HTMLElement>('[data-key]')];
  again.find(each => each.dataset.key === key)?.focus();
}

/** A button with a tooltip. */
export function button(
  label: string,
  title: string,
  onClick: () => void,
  className = 'wb-button'
): HTMLButtonElement {
  const element = make('button', { type: 'button', class: className, title }, label);
  element.addEventListener('click', () => onClick());
  return element;
}

/** A table's first row. */
export function tableHead(texts: readonly string[]): HTMLElement {
  const cells = texts.map(text => make('th', { scope: 'col' }, text));
  return make('thead', make('tr', cells));
}

/** A row of a table. */
function tableRow(cells: readonly Child[]): HTMLElement {
  return make(
    'tr',
    cells.map(cell => make('td', cell))
  );
}

/** A table of texts: a chart's data for readers who cannot see it. */
export function dataTable(
  caption: string,
  head: readonly string[],
  rows: readonly (readonly string[])[]
): HTMLTableElement {
  return make('table.wb-data', [
    make('caption', caption),
    tableHead(head),
    make('tbody', rows.map(tableRow))
  ]);
}

/** A chart's data as a table, hidden until its button is pressed. */
export class Twin {
  readonly node = make('div.wb-twin', { hidden: '' });
  readonly button = button('Table', 'Show as a table', () => {
    this.node.hidden = !this.node.hidden;
    this.button.setAttribute('aria-pressed', String(!this.node.hidden));
    this.fill();
  });

  /** @param _table - makes the table. */
  constructor(private readonly _table: () => HTMLTableElement) {
    this.button.setAttribute('aria-pressed', 'false');
  }

  /** Write the table again, if it is shown. */
  fill(): void {
    if (!this.node.hidden) {
      this.node.replaceChildren(this._table());
    }
  }
}

const COPIED_MILLIS = 1500;

/** A button that copies a text to the clipboard. */
export function copyButton(title: string, text: string): HTMLButtonElement {
  const element = button('Copy', title, () => {
    void navigator.clipboard.writeText(text).then(() => {
      element.textContent = 'Copied';
      setTimeout(() => {
        element.textContent = 'Copy';
      }, COPIED_MILLIS);
    });
  });
  return element;
}

/** Call the function of a pressed key; the page gets all other keys. */
export function onKeys(node: HTMLElement, acts: Readonly<Record<string, () => void>>): void {
  node.addEventListener('keydown', event => {
    const act = acts[event.key];
    if (act !== undefined) {
      act();
      event.preventDefault();
      event.stopPropagation();
    }
  });
}
