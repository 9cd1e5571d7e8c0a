import { make } from '../charts/elements';

/** A panel with a heading around `body`. */
export function panel(title: string, name: string, ...body: Node[]): HTMLElement {
  const id = `wb-panel-${name}-${(made += 1)}`;
  return make('section', { class: `wb-live wb-Panel wb-Panel-${name}`, 'aria-labelledby': id }, [
    make('div.wb-head', [make('h2.wb-name', { id }, title)]),
    make('div.wb-section', body)
  ]);
}

let made = 0;
