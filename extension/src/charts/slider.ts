/** A slider over the values of a scale. */

import { make } from './elements';
import { onRelease } from './navigation';

export class ScaleSlider {
  readonly node: HTMLElement;
  readonly input = make('input', { type: 'range', min: '0', max: '0', step: '1' });
  /** Whether it is being dragged: nothing else must move it then. */
  dragging = false;
  private readonly _value = make('output.wb-figure');
  private _scale: readonly number[] = [];

  /** @param moved - called with the value that the reader has chosen.
   * @param about - a tooltip. */
  constructor(title: string, moved: (value: number) => void, about = '') {
    const { input } = this;
    input.addEventListener('input', () => moved(this._scale[Number(input.value)]));
    input.addEventListener('pointerdown', () => {
      this.dragging = true;
    });
    const release = () => {
      this.dragging = false;
    };
    onRelease(input, release);
    input.addEventListener('blur', release);
    this.node = make('label.wb-slider', [make('span', title), input, this._value]);
    this.node.title = about;
  }

  /** Move it to a value of its scale, with `text` for the value. */
  show(scale: readonly number[], value: number, text: string): void {
    this._scale = scale;
    this.input.max = String(scale.length - 1);
    this.input.value = String(scale.indexOf(value));
    this.say(text);
  }

  /** Name its value. */
  say(text: string): void {
    this.input.setAttribute('aria-valuetext', text);
    this._value.textContent = text;
  }
}
