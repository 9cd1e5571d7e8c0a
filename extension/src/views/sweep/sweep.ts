/** The sweep explorer: sliders, the simulated curve that follows them, and what was measured. */

import { button, copyButton, dataTable, make, tableButton } from '../../charts/elements';
import { AXES } from '../../protocol/generated';
import { Latest, Link, type IModel } from '../../protocol/link';
import { latestVersion, type Version } from '../../protocol/version';
import { AsOf } from '../as_of';
import { reasonBars, sizeHistogram } from './share_bars';
import { SweepChart } from './sweep_chart';
import {
  ROW_TITLES,
  SweepData,
  TITLES,
  valueText,
  type Axis,
  type IPoint,
  type Setting
} from './sweep_data';

interface IState {
  scales: Record<Axis, number[]>;
  setting: Setting;
  axis: Axis;
  seconds: number;
  busy: string;
  calibration: { text: string; version: Version } | null;
  points: IPoint[];
}

interface IPulse {
  wall: number;
  num_batch_threads: number;
  model: {
    batching: { max_batch_size: number; batch_timeout_micros: number } | null;
    versions: { version: Version; state: string }[];
  };
}

export class SweepExplorerView {
  private readonly _data = new SweepData();
  private readonly _chart: SweepChart;
  private readonly _link: Link;
  private readonly _asOf = new AsOf();
  private readonly _known = make('span', { class: 'wb-soft wb-known' });
  private readonly _sliders = new Map<Axis, HTMLInputElement>();
  private readonly _values = new Map<Axis, HTMLOutputElement>();
  private readonly _axis = make('select', { 'aria-label': 'curve against' });
  private readonly _buttons: Record<
    'calibrate' | 'measure' | 'apply' | 'export',
    HTMLButtonElement
  >;
  private readonly _cancel: HTMLButtonElement;
  private readonly _progress = make('progress', { max: '1', hidden: '', 'aria-label': 'progress' });
  private readonly _message = make('p', { class: 'wb-message', role: 'status' });
  private readonly _summary = make('p', { class: 'wb-summary', 'aria-live': 'polite' });
  private readonly _side = make('div', { class: 'wb-beside' });
  private readonly _diagnoses = make('ul', { class: 'wb-diagnoses' });
  private readonly _file = make('div', { hidden: '' });
  private readonly _twin = make('div', { class: 'wb-twin', hidden: '' });
  private readonly _curves = new Latest((asked: { setting: Setting; axis: Axis }) =>
    this._simulate(asked)
  );
  private _state: IState | null = null;
  private _pulse: IPulse | null = null;
  private _ended = '';
  private _silent = false;
  private _dragging = false;

  constructor(node: HTMLElement, model: IModel) {
    const about = model.get('about') as { name: string };
    this._buttons = {
      calibrate: button(
        'Calibrate',
        'Measure the run times of the model with about 6 s of load',
        () => this._order('calibrate', 'Calibrating …')
      ),
      measure: button(
        'Measure',
        'Measure this setting under load, then restore the parameters of the server',
        () => this._order('measure', 'Measuring …')
      ),
      apply: button('Apply', 'Set these parameters on the server', () =>
        this._order('apply', 'Applying …')
      ),
      export: button(
        'Export',
        'Show as a parameters file for TensorFlow Serving',
        () => void this._export()
      )
    };
    this._cancel = button('Cancel', 'Cancel, and restore the parameters of the server', () => {
      void this._link.order('cancel').then(({ text }) => this._say(text, true));
    });
    this._cancel.hidden = true;
    for (const axis of AXES) {
      this._axis.append(make('option', { value: axis }, TITLES[axis]));
    }
    const twin = tableButton(this._twin, () => this._fillTwin());
    const charts = make('div', { class: 'wb-charts wb-still' });
    node.append(
      make(
        'div',
        { class: 'wb-head' },
        make('span', { class: 'wb-name' }, about.name),
        this._known,
        this._asOf.node
      ),
      make(
        'div',
        { class: 'wb-section' },
        make('div', { class: 'wb-sliders' }, ...AXES.map(axis => this._slider(axis))),
        make(
          'div',
          { class: 'wb-controls wb-buttons' },
          ...Object.values(this._buttons),
          this._cancel,
          this._progress,
          make('label', { class: 'wb-end' }, 'curve against', this._axis),
          twin
        ),
        this._message,
        this._file
      ),
      make(
        'div',
        { class: 'wb-section wb-container' },
        make(
          'div',
          { class: 'wb-sweep' },
          make('div', {}, this._summary, charts),
          make('div', {}, this._side, this._diagnoses)
        )
      ),
      make('div', { class: 'wb-section wb-scroll wb-last' }, this._twin)
    );
    this._chart = new SweepChart(charts, this._data);
    this._axis.addEventListener('change', () => {
      this._data.axis = this._axis.value as Axis;
      this._moved();
    });
    this._link = new Link(model, node);
    this._link.onNews = message => this._news(message);
    this._link.onSilence = silent => {
      this._silent = silent;
      this._tell();
    };
    this._tell();
  }

  dispose(): void {
    this._link.dispose();
    this._chart.dispose();
  }

  private _slider(axis: Axis): HTMLElement {
    const slider = make('input', { type: 'range', min: '0', max: '0', step: '1' });
    const value = make('output', { class: 'wb-figure' });
    this._sliders.set(axis, slider);
    this._values.set(axis, value);
    slider.addEventListener('input', () => {
      this._data.setting = {
        ...this._data.setting,
        [axis]: this._data.scales[axis][Number(slider.value)]
      };
      this._moved();
    });
    // A state that arrives during a drag must not move the slider.
    slider.addEventListener('pointerdown', () => {
      this._dragging = true;
    });
    for (const name of ['pointerup', 'pointercancel', 'blur']) {
      slider.addEventListener(name, () => {
        this._dragging = false;
      });
    }
    return make('label', { class: 'wb-slider' }, make('span', {}, TITLES[axis]), slider, value);
  }

  /** A slider has moved: show that at once, and simulate it. */
  private _moved(): void {
    this._showSetting();
    this._draw();
    if (this._state !== null && this._state.calibration !== null) {
      this._curves.push({ setting: this._data.setting, axis: this._data.axis });
    }
  }

  private async _simulate(asked: { setting: Setting; axis: Axis }): Promise<void> {
    const { ok, text } = await this._link.order('curve', asked);
    if (!ok) {
      this._say(text, false);
    }
  }

  private _showSetting(): void {
    for (const axis of AXES) {
      const slider = this._sliders.get(axis);
      const value = this._values.get(axis);
      if (slider !== undefined && value !== undefined) {
        const scale = this._data.scales[axis];
        const text = valueText(axis, this._data.setting[axis]);
        slider.max = String(scale.length - 1);
        slider.value = String(scale.indexOf(this._data.setting[axis]));
        slider.setAttribute('aria-valuetext', text);
        value.textContent = text;
      }
    }
    this._axis.value = this._data.axis;
  }

  private _news(message: Record<string, unknown>): void {
    switch (message.kind) {
      case 'ended':
        this._ended = String(message.text);
        break;
      case 'pulse':
        this._ended = '';
        this._pulse = message.pulse as IPulse;
        break;
      case 'state':
        this._begin(message as unknown as IState);
        break;
      case 'progress':
        this._showProgress(String(message.text), message.share as number | null);
        break;
      case 'curve':
        this._data.curve = message.points as IPoint[];
        this._data.curveAxis = message.axis as Axis;
        this._data.curveSetting = message.setting as Setting;
        this._draw();
        break;
    }
    this._tell();
  }

  private _begin(state: IState): void {
    const before = this._state;
    this._state = state;
    this._data.scales = state.scales;
    this._data.measured = state.points;
    if (before === null) {
      this._data.setting = state.setting;
      this._data.axis = state.axis;
    }
    if (!this._dragging) {
      this._showSetting();
    }
    const calibrated = state.calibration !== null;
    const anew = calibrated && before?.calibration?.text !== state.calibration?.text;
    if (anew) {
      this._moved();
    } else {
      this._draw();
    }
    if (before === null && !calibrated && state.busy === '') {
      this._say(
        'Calibrate first, with about 6 s of load on this server. Then move the sliders.',
        true
      );
    }
  }

  private _showProgress(text: string, share: number | null): void {
    this._say(text, true);
    if (share === null) {
      this._progress.removeAttribute('value');
    } else {
      this._progress.value = share;
    }
  }

  /** Show the age of the data, the settings in force, and which controls can be used. */
  private _tell(): void {
    const end = this._ended || (this._silent ? this._link.silence : '');
    this._asOf.show(this._pulse?.wall ?? 0, end);
    this._known.textContent = this._inForce();
    const busy = this._state?.busy ?? '';
    const idle = end === '' && busy === '' && this._state !== null;
    for (const [name, control] of Object.entries(this._buttons)) {
      // The file is of the sliders alone: it can be had from a server that has ended, too.
      control.disabled = name === 'export' ? this._silent || this._state === null : !idle;
    }
    this._cancel.hidden = this._progress.hidden = busy === '';
    this._cancel.disabled = this._silent;
    for (const control of [...this._sliders.values(), this._axis]) {
      control.disabled = this._silent || this._state === null;
    }
  }

  private _inForce(): string {
    const parts: string[] = [];
    if (this._pulse !== null) {
      const { batching, versions } = this._pulse.model;
      const threads = `${this._pulse.num_batch_threads} threads`;
      parts.push(
        batching === null
          ? `in force: automatic, ${threads}`
          : `in force: delay ${valueText('batch_timeout_micros', batching.batch_timeout_micros)}, ` +
              `max_batch_size ${batching.max_batch_size}, ${threads}`
      );
      const serving = versions.filter(v => v.state === 'AVAILABLE').map(v => v.version);
      const calibrated = this._state?.calibration?.version;
      const latest = latestVersion(serving);
      if (calibrated !== undefined && latest !== null && latest !== calibrated) {
        parts.push(`version ${latest} serves now: calibrate again`);
      }
    }
    return parts.join('; ');
  }

  private _order(op: 'calibrate' | 'measure' | 'apply', doing: string): void {
    this._say(doing, true);
    this._progress.removeAttribute('value');
    const { setting } = this._data;
    void this._link.order(op, { setting }).then(({ ok, text }) => this._say(text, ok));
  }

  private async _export(): Promise<void> {
    const { ok, text } = await this._link.order('export', { setting: this._data.setting });
    if (!ok) {
      this._say(text, false);
      return;
    }
    this._file.replaceChildren(
      make(
        'pre',
        { 'aria-label': 'batching parameters file' },
        text,
        copyButton('Copy the file', text)
      )
    );
    this._file.hidden = false;
    this._say(
      'For --batching_parameters_file of TensorFlow Serving or workbench model-server.',
      true
    );
  }

  private _say(text: string, ok: boolean): void {
    this._message.textContent = text;
    this._message.classList.toggle('wb-bad', !ok);
  }

  private _draw(): void {
    const { here, measuredHere } = this._data;
    this._chart.update();
    this._summary.textContent = this._data.summary();
    this._side.replaceChildren(sizeHistogram(here, measuredHere), reasonBars(here, measuredHere));
    const diagnosed = measuredHere ?? here;
    const kind = measuredHere === null ? 'simulated' : 'measured';
    const texts = diagnosed?.diagnoses ?? [];
    const none = diagnosed === null ? [] : [`No problem found with this setting (${kind}).`];
    this._diagnoses.replaceChildren(
      ...(texts.length > 0 ? texts.map(text => `${kind}: ${text}`) : none).map(text =>
        make('li', {}, text)
      )
    );
    this._fillTwin();
  }

  private _fillTwin(): void {
    if (!this._twin.hidden) {
      const rows = this._data.rows();
      const caption = 'Simulated and measured points, with 95 % confidence intervals in brackets';
      this._twin.replaceChildren(dataTable(caption, ROW_TITLES, rows));
    }
  }
}
