/** Zooming and scrolling of plots that share their time axis. */

import type { Plot } from './plot';

/** Zoom with Ctrl and the wheel, around the pointer, and scroll by dragging. */
export function navigate(
  charts: HTMLElement,
  plotAt: (target: EventTarget | null) => Plot | undefined,
  zoom: (factor: number, around: number) => void,
  pan: (share: number) => void
): void {
  charts.addEventListener(
    'wheel',
    event => {
      const plot = plotAt(event.target);
      // Scrolling without a modifier key scrolls the page.
      if (plot !== undefined && (event.ctrlKey || event.metaKey)) {
        zoom(event.deltaY > 0 ? 1.25 : 0.8, plot.pointAt(event).x);
        event.preventDefault();
      }
    },
    { passive: false }
  );
  let held: Plot | undefined;
  let from = 0;
  charts.addEventListener('pointerdown', event => {
    held = plotAt(event.target);
    from = event.clientX;
  });
  charts.addEventListener('pointermove', event => {
    if (held !== undefined && Math.abs(event.clientX - from) > 2) {
      charts.setPointerCapture(event.pointerId);
      pan((from - event.clientX) / Math.max(1, held.plotWidth));
      from = event.clientX;
    }
  });
  onRelease(charts, () => {
    held = undefined;
  });
}

/** Call `release` when the pointer is let go. */
export function onRelease(node: HTMLElement, release: () => void): void {
  node.addEventListener('pointerup', release);
  node.addEventListener('pointercancel', release);
}
