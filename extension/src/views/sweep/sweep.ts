/** The sweep explorer: sliders, the simulated curve that follows them, and what was measured. */

import {
  button,
  copyButton,
  dataTable,
  make,
  StatusLine,
  showShare,
  Twin
} from '../../charts/elements';
import { AXES, HELD } from '../../protocol/generated';
import { ScaleSlider } from '../../charts/slider';
import { Latest, Link, type IModel, type IOutcome } from '../../protocol/link';
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
  private readonly _known = make('span.wb-soft.wb-known');
  private readonly _sliders = new Map(
    AXES.map(axis => [axis, new ScaleSlider(TITLES[axis], value => this._set(axis, value))])
  );
  private readonly _axis = make(
    'select',
    { 'aria-label': 'curve against' },
    AXES.map(axis => make('option', { value: axis }, TITLES[axis]))
  );
  /** Buttons that need a server at rest. */
  private readonly _acts = [
    button(
      'Calibrate',
      'Measure the run times of the model with about 8 s of load',
      () => void this._measure('calibrate', 'Calibrating …')
    ),
    button(
      'Measure',
      'Measure this setting under load, then restore the parameters of the server',
      () => void this._measure('measure', 'Measuring …')
    ),
    button(
      'Apply',
      'Set these parameters on the server',
      () => void this._order('apply', 'Applying …')
    )
  ];
  /** Shown where another experiment holds the server. */
  private readonly _held = [
    button('Wait for it', 'Begin when the other experiment has ended', () => this._again('wait')),
    button('Take over', 'End the other experiment. A calibration is lost, a sweep is kept.', () =>
      this._again('take over')
    )
  ];
  private readonly _export = button(
    'Export',
    'Show as a parameters file for TensorFlow Serving',
    () => void this._showFile()
  );
  private readonly _cancel = button(
    'Cancel',
    'Cancel, and restore the parameters of the server',
    () => void this._link.order('cancel').then(({ text }) => this._message.say(text))
  );
  private readonly _progress = make('progress', { max: '1', hidden: '', 'aria-label': 'progress' });
  private readonly _message = new StatusLine();
  private readonly _summary = make('p.wb-summary', { 'aria-live': 'polite' });
  private readonly _side = make('div.wb-beside');
  private readonly _diagnoses = make('ul.wb-diagnoses');
  private readonly _file = make('div', { hidden: '' });
  private readonly _twin = new Twin(() => {
    const caption = 'Simulated and measured points, with 95 % confidence intervals in brackets';
    return dataTable(caption, ROW_TITLES, this._data.rows());
  });
  private readonly _curves = new Latest((asked: { setting: Setting; axis: Axis }) =>
    this._simulate(asked)
  );
  private _state: IState | null = null;
  private _pulse: IPulse | null = null;
  /** Give the order that was refused once more, with the setting of the sliders. */
  private _again: (whenBusy: 'wait' | 'take over') => void = () => {};

  constructor(node: HTMLElement, model: IModel) {
    const about = model.get('about') as { name: string };
    this._cancel.hidden = true;
    this._offer(false);
    const charts = make('div.wb-charts.wb-still');
    node.append(
      make('div.wb-head', [make('span.wb-name', about.name), this._known, this._asOf.node]),
      make('div.wb-section', [
        make(
          'div.wb-sliders',
          [...this._sliders.values()].map(slider => slider.node)
        ),
        make('div.wb-controls.wb-buttons', [
          ...this._acts,
          this._export,
          ...this._held,
          this._cancel,
          this._progress,
          make('label.wb-end', ['curve against', this._axis]),
          this._twin.button
        ]),
        this._message.node,
        this._file
      ]),
      make('div.wb-section.wb-container', [
        make('div.wb-sweep', [
          make('div', [this._summary, charts]),
          make('div', [this._side, this._diagnoses])
        ])
      ]),
      make('div.wb-section.wb-scroll.wb-last', this._twin.node)
    );
    this._chart = new SweepChart(charts, this._data);
    this._axis.addEventListener('change', () => {
      this._data.axis = this._axis.value as Axis;
      this._moved();
    });
    this._link = new Link(model, node);
    this._asOf.follow(
      this._link,
      'pulse',
      message => this._news(message),
      () => this._tell()
    );
    this._tell();
  }

  dispose(): void {
    this._link.dispose();
    this._chart.dispose();
  }

  private _set(axis: Axis, value: number): void {
    this._data.setting = { ...this._data.setting, [axis]: value };
    this._moved();
  }

  /** Show at once that a slider has moved, and simulate the new setting. */
  private _moved(): void {
    this._showSetting();
    this._draw();
    if (this._state?.calibration) {
      this._curves.push({ setting: this._data.setting, axis: this._data.axis });
    }
  }

  private async _simulate(asked: { setting: Setting; axis: Axis }): Promise<void> {
    const { ok, text } = await this._link.order('curve', asked);
    if (!ok) {
      this._message.say(text, false);
    }
  }

  private _showSetting(): void {
    for (const [axis, slider] of this._sliders) {
      const value = this._data.setting[axis];
      slider.show(this._data.scales[axis], value, valueText(axis, value));
    }
    this._axis.value = this._data.axis;
  }

  private _news(message: Record<string, unknown>): void {
    switch (message.kind) {
      case 'pulse':
        this._pulse = message.pulse as IPulse;
        this._asOf.wall = this._pulse.wall;
        break;
      case 'state':
        this._begin(message as unknown as IState);
        break;
      case 'progress':
        this._message.say(String(message.text));
        showShare(this._progress, message.share as number | null);
        break;
      case 'curve':
        this._data.curve = message.points as IPoint[];
        this._data.curveAxis = message.axis as Axis;
        this._data.curveSetting = message.setting as Setting;
        this._draw();
        break;
    }
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
    // A state that arrives during a drag must not move the slider.
    if (![...this._sliders.values()].some(slider => slider.dragging)) {
      this._showSetting();
    }
    const calibrated = state.calibration !== null;
    if (calibrated && before?.calibration?.text !== state.calibration?.text) {
      this._moved();
    } else {
      this._draw();
    }
    if (before === null && !calibrated && state.busy === '') {
      this._message.say(
        'Calibrate first, with about 8 s of load on this server. Then move the sliders.'
      );
    }
  }

  /** Show the settings in force, and which controls can be used. */
  private _tell(): void {
    this._known.textContent = this._inForce();
    const busy = this._state?.busy ?? '';
    const idle = this._asOf.end === '' && busy === '' && this._state !== null;
    [...this._acts, ...this._held].forEach(act => {
      act.disabled = !idle;
    });
    this._cancel.hidden = this._progress.hidden = busy === '';
    this._cancel.disabled = this._asOf.silent;
    // The file depends on the sliders only, so it can be exported after the server has ended.
    const sliders = [...this._sliders.values()].map(({ input }) => input);
    for (const control of [this._export, this._axis, ...sliders]) {
      control.disabled = this._asOf.silent || this._state === null;
    }
  }

  private _inForce(): string {
    if (this._pulse === null) {
      return '';
    }
    const { batching, versions } = this._pulse.model;
    const settings =
      batching === null
        ? 'automatic'
        : `delay ${valueText('batch_timeout_micros', batching.batch_timeout_micros)}, ` +
          `max_batch_size ${batching.max_batch_size}`;
    const inForce = `in force: ${settings}, ${this._pulse.num_batch_threads} threads`;
    const serving = versions.filter(v => v.state === 'AVAILABLE').map(v => v.version);
    const calibrated = this._state?.calibration?.version;
    const latest = latestVersion(serving);
    const anew = calibrated !== undefined && latest !== null && latest !== calibrated;
    return anew ? `${inForce}; version ${latest} serves now: calibrate again` : inForce;
  }

  private _order(
    op: string,
    doing: string,
    values: Record<string, unknown> = {}
  ): Promise<IOutcome> {
    this._offer(false);
    showShare(this._progress, null);
    const order = this._link.order(op, { setting: this._data.setting, ...values });
    void this._message.follow(doing, order);
    return order;
  }

  private async _measure(
    op: 'calibrate' | 'measure',
    doing: string,
    whenBusy: 'refuse' | 'wait' | 'take over' = 'refuse'
  ): Promise<void> {
    this._again = instead => void this._measure(op, doing, instead);
    const { reason } = await this._order(op, doing, { when_busy: whenBusy });
    this._offer(reason === HELD);
  }

  private _offer(held: boolean): void {
    this._held.forEach(offer => {
      offer.hidden = !held;
    });
  }

  private async _showFile(): Promise<void> {
    const { ok, text } = await this._link.order('export', { setting: this._data.setting });
    if (!ok) {
      this._message.say(text, false);
      return;
    }
    this._file.replaceChildren(
      make('pre', { 'aria-label': 'batching parameters file' }, [
        text,
        copyButton('Copy the file', text)
      ])
    );
    this._file.hidden = false;
    this._message.say(
      'For --batching_parameters_file of TensorFlow Serving or workbench model-server.'
    );
  }

  private _draw(): void {
    const { here, measuredHere } = this._data;
    this._chart.update();
    this._summary.textContent = this._data.summary();
    this._side.replaceChildren(sizeHistogram(here, measuredHere), reasonBars(here, measuredHere));
    const diagnosed = measuredHere ?? here;
    const kind = measuredHere === null ? 'simulated' : 'measured';
    const found = diagnosed?.diagnoses.map(text => `${kind}: ${text}`) ?? [];
    if (diagnosed !== null && found.length === 0) {
      found.push(`No problem found with this setting (${kind}).`);
    }
    this._diagnoses.replaceChildren(...found.map(text => make('li', text)));
    this._twin.fill();
  }
}
