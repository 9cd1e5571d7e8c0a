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

/** Say something, unless it says so already: a page at rest is not laid out again. */
export function say(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** A button that says what it does, and does it. */
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

/** A table of texts: what a chart shows, for those who do not see it. */
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
