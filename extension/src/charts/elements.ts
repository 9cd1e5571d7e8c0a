/** Making elements: text is always text, never markup. */

type Child = Node | string;

/** An element with attributes (`class`, `title`, `aria-...`) and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Set a node's text, unless it is the same: a page at rest is not laid out again. */
export function say(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** A button with a tooltip. */
export function button(
  label: string,
  title: string,
  onClick: () => void,
  className = 'wb-button'
): HTMLButtonElement {
  const element = make('button', { type: 'button', class: className, title }, label);
  element.addEventListener('click', onClick);
  return element;
}

/** A table of texts: a chart's data for readers who cannot see it. */
export function dataTable(
  caption: string,
  head: readonly string[],
  rows: readonly (readonly string[])[]
): HTMLTableElement {
  return make(
    'table',
    { class: 'wb-data' },
    make('caption', {}, caption),
    make('thead', {}, make('tr', {}, ...head.map(text => make('th', { scope: 'col' }, text)))),
    make('tbody', {}, ...rows.map(row => make('tr', {}, ...row.map(text => make('td', {}, text)))))
  );
}

/** A button that shows and hides a chart's data as a table; `fill` writes the table. */
export function tableButton(twin: HTMLElement, fill: () => void): HTMLButtonElement {
  const element = button('Table', 'Show as a table', () => {
    twin.hidden = !twin.hidden;
    element.setAttribute('aria-pressed', String(!twin.hidden));
    fill();
  });
  element.setAttribute('aria-pressed', 'false');
  return element;
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
