/** The server card: a server's current state, and the controls to change it. */

import { button, copyButton, make, StatusLine, say } from '../../charts/elements';
import { Sparkline } from '../../charts/sparkline';
import { countText, durationText, goodputText } from '../../charts/text';
import { themeOf } from '../../charts/theme';
import { SIGNATURE_CHANGE, TRANSITIONS, type IModelDescription } from '../../protocol/generated';
import { Latest, type IWire } from '../../protocol/link';
import type { Version } from '../../protocol/version';
import { AsOf } from '../as_of';
import { Dots } from '../timeline/dots';
import { DOTS_KEPT, TimelineData, type IPulse, type Second } from '../timeline/timeline_data';
import { LabelForm, VersionRows } from './version_rows';
import { latestOf } from './versions_data';

interface IBatching {
  max_batch_size: number | null;
  batch_timeout_micros: number | null;
}

type ILabels = IModelDescription['labels'];

interface ICardPulse extends IPulse {
  model: IModelDescription & { batching: IBatching | null };
}

/** What a card knows when it is created. */
export interface ICardAbout {
  name: string;
  address: string;
  outcome: string;
  snippets: [string, string][];
  /** The wanted latency; without one no goodput is shown. */
  targetMillis?: number | null;
}

const SPARK_SECONDS = 60;
/** Steps of the delay's slider: 0, then 0.1 ms to 1 s on a logarithmic scale. */
const DELAY_STEPS = 40;
const STALE_MILLIS = 1000;
/** How long the server's reports may still lack labels that were set here. */
const LABELS_MILLIS = 5000;
const CONFIRM_MILLIS = 4000;

function delayOfStep(step: number): number {
  return step === 0 ? 0 : Math.round(100 * 10 ** ((step - 1) / ((DELAY_STEPS - 1) / 4)));
}

function stepOfDelay(micros: number): number {
  return micros < 100 ? 0 : Math.round(1 + Math.log10(micros / 100) * ((DELAY_STEPS - 1) / 4));
}

/** Requests per second and p99 of each of the last seconds, over all versions; and in all. */
function recentTraffic(
  seconds: Iterable<Second>,
  now: number
): { rates: number[]; p99: (number | null)[]; failed: number; requests: number; within: number } {
  const last = Math.floor(now) - 1;
  const rates = new Array<number>(SPARK_SECONDS).fill(0);
  const p99 = new Array<number | null>(SPARK_SECONDS).fill(null);
  let [failed, requests, within] = [0, 0, 0];
  for (const [second, , answered, refused, , high, good] of seconds) {
    const index = SPARK_SECONDS - 1 - (last - second);
    if (index >= 0 && index < SPARK_SECONDS) {
      rates[index] += answered + refused;
      failed += refused;
      requests += answered + refused;
      within += good ?? 0;
      if (high !== null) {
        p99[index] = Math.max(p99[index] ?? 0, high);
      }
    }
  }
  return { rates, p99, failed, requests, within };
}

export class ServerCard {
  private readonly _data = new TimelineData(new Dots(DOTS_KEPT));
  private readonly _rows = new VersionRows({
    backTo: version => this._backTo(version),
    label: version => this._form.open(version, Object.keys(this._labels)),
    unlabel: name => this._unlabel(name)
  });
  private readonly _form = new LabelForm((name, version) => this._label(name, version));
  private readonly _asOf = new AsOf();
  private readonly _message = new StatusLine();
  private readonly _rate = new Sparkline();
  private readonly _p99 = new Sparkline();
  private readonly _rateText = make('span.wb-figure');
  private readonly _p99Text = make('span.wb-figure');
  private readonly _goodput = make('span.wb-figure', {
    title: 'Goodput: the share of all requests of the last minute that were answered in time'
  });
  private readonly _transition = make(
    'select',
    { 'aria-label': 'transition' },
    TRANSITIONS.map(value => make('option', { value }, value))
  );
  private readonly _automatic = make('input', { type: 'checkbox' });
  private readonly _size = make('input', { type: 'number', min: '1', step: '1' });
  private readonly _delay = make('input', { type: 'range', min: '0', max: String(DELAY_STEPS) });
  private readonly _delayText = make('output.wb-figure');
  private readonly _path = make('input', {
    type: 'text',
    placeholder: 'folder of a SavedModel',
    'aria-label': 'folder of a SavedModel'
  });
  /** Shown when a model was refused because it breaks the callers of the version that serves. */
  private readonly _allTheSame = button(
    'Publish all the same',
    'Publish this folder, although it breaks the callers of the version that serves',
    () => void this._publish({ path: this._path.value, allow_signature_change: true }),
    'wb-button wb-danger'
  );
  private readonly _buttons: HTMLButtonElement[];
  private readonly _batching = new Latest(async (value: IBatching | null) => {
    await this._do('batching', { value }, 'Setting batching');
    this._ownUntil = performance.now() + STALE_MILLIS;
  });
  private readonly _targetMillis?: number | null;
  private _model: IModelDescription | null = null;
  private _asked = '';
  private _askedAt = 0;
  /** Until then the server's report may be older than what was set here. */
  private _ownUntil = 0;
  private _ownLabels: ILabels | null = null;
  private _ownLabelsUntil = 0;

  constructor(
    private readonly _node: HTMLElement,
    face: ICardAbout,
    private readonly _link: IWire
  ) {
    this._targetMillis = face.targetMillis;
    this._path.addEventListener('input', () => {
      this._allTheSame.hidden = true;
    });
    this._allTheSame.hidden = true;
    this._buttons = [
      button(
        'Publish',
        'Publish this folder as the next version',
        () => void this._publish({ path: this._path.value })
      ),
      this._allTheSame,
      button(
        'Roll back',
        'Serve the version before the latest again, and unload the latest',
        () => void this._do('rollback', {}, 'Rolling back')
      ),
      button(
        'Undo roll back',
        'Serve the version again that was rolled back last',
        () => void this._do('undo', {}, 'Undoing the roll back')
      ),
      button('Stop', 'Stop this server', () => this._stop(), 'wb-button wb-danger')
    ];
    const snippets = face.snippets.map(([title, text]) =>
      make('pre', { 'aria-label': title }, [text, copyButton(`Copy ${title}`, text)])
    );
    _node.append(
      make('div.wb-head', [
        make('span.wb-name', face.name),
        make('span.wb-soft', face.address),
        this._asOf.node
      ]),
      ...(face.outcome === '' ? [] : [make('div.wb-section.wb-soft', face.outcome)]),
      make('div.wb-section.wb-scroll', this._rows.node),
      make('div.wb-section.wb-controls', [
        make('span', [this._rate.node, this._rateText]),
        make('span', [this._p99.node, this._p99Text]),
        this._goodput
      ]),
      make('div.wb-section', [
        make('div.wb-controls', [
          make('label', ['transition', this._transition]),
          make('label', [this._automatic, 'automatic batching']),
          make('label', ['max_batch_size', this._size]),
          make('label', ['delay', this._delay, this._delayText])
        ]),
        make('div.wb-controls', { style: 'margin-top:8px' }, [this._path, ...this._buttons]),
        this._form.node,
        this._message.node
      ]),
      make('details', [make('summary', 'How to send requests'), make('div', snippets)])
    );
    this._listen();
    this._asOf.follow(
      _link,
      'pulse',
      message => this._news(message),
      () => this._tell()
    );
  }

  dispose(): void {
    this._link.dispose();
  }

  private _listen(): void {
    this._transition.addEventListener('change', () => {
      void this._do('transition', { value: this._transition.value }, 'Setting the transition');
    });
    const push = () => {
      const values = {
        max_batch_size: Math.max(1, Math.round(Number(this._size.value) || 1)),
        batch_timeout_micros: delayOfStep(Number(this._delay.value))
      };
      this._ownUntil = Infinity;
      this._showBatching(this._automatic.checked ? null : values);
      this._batching.push(this._automatic.checked ? null : values);
    };
    this._automatic.addEventListener('change', push);
    this._size.addEventListener('change', push);
    this._delay.addEventListener('input', push);
  }

  private _news(message: Record<string, unknown>): void {
    if (message.kind === 'pulse') {
      const pulse = message.pulse as ICardPulse;
      if (message.fresh === true) {
        this._data.clear();
      }
      this._data.add(pulse);
      this._asOf.wall = pulse.wall;
      this._draw(pulse);
    }
  }

  /** Disable the controls while the server cannot be reached. */
  private _tell(): void {
    const dead = this._asOf.end !== '';
    this._rows.off = dead;
    for (const control of [...this._buttons, this._allTheSame, this._transition, this._automatic]) {
      control.disabled = dead;
    }
    this._size.disabled = this._delay.disabled = dead || this._automatic.checked;
  }

  private _showBatching(batching: IBatching | null): void {
    this._automatic.checked = batching === null;
    const micros = batching?.batch_timeout_micros ?? 0;
    setValue(this._size, String(batching?.max_batch_size ?? 1000));
    setValue(this._delay, String(stepOfDelay(micros)));
    say(this._delayText, durationText(micros));
    this._tell();
  }

  private _draw(pulse: ICardPulse): void {
    const { dark } = themeOf(this._node);
    const memory = this._data.memoryAt([pulse.now]);
    this._model = pulse.model;
    if (this._ownLabels !== null && same(this._ownLabels, pulse.model.labels)) {
      this._ownLabels = null;
    }
    this._rows.show(pulse.model, version => memory.get(version)?.[0] ?? 0, dark);
    const { rates, p99, failed, requests, within } = recentTraffic(
      this._data.seconds.values(),
      pulse.now
    );
    const rate = rates[rates.length - 1];
    const high = p99[p99.length - 1];
    const held = pulse.model.held > 0 ? `, ${pulse.model.held} held` : '';
    const lost = failed > 0 ? `, ${countText(failed)} failed in the last minute` : '';
    say(this._rateText, `${countText(rate)} requests/s${held}${lost}`);
    say(this._p99Text, high === null ? 'no latency yet' : `p99 ${durationText(high)}`);
    say(this._goodput, goodputText(requests, within, this._targetMillis));
    this._rate.draw(rates, `Requests per second over the last minute, now ${countText(rate)}`);
    this._p99.draw(
      p99,
      `99th percentile of latency over the last minute, now ${this._p99Text.textContent}`
    );
    if (document.activeElement !== this._transition) {
      setValue(this._transition, pulse.model.transition);
    }
    const used = [this._size, this._delay] as (Element | null)[];
    if (!used.includes(document.activeElement) && performance.now() > this._ownUntil) {
      this._showBatching(pulse.model.batching);
    }
  }

  private _do(op: string, values: Record<string, unknown>, doing: string): Promise<boolean> {
    return this._message.follow(`${doing} …`, this._link.order(op, values));
  }

  private async _publish(values: Record<string, unknown>): Promise<void> {
    this._allTheSame.hidden = true;
    const order = this._link.order('publish', values);
    if (await this._message.follow('Publishing …', order)) {
      this._path.value = '';
    }
    this._allTheSame.hidden = (await order).reason !== SIGNATURE_CHANGE;
  }

  private _stop(): void {
    this._twice('Press Stop again to stop this server and unload all of its versions.', () =>
      this._do('stop', {}, 'Stopping')
    );
  }

  private _backTo(version: Version): void {
    const later = latestOf(this._model?.versions ?? []);
    this._twice(
      `Press again to roll back to version ${version}: it becomes the latest, and version ${later} is unloaded.`,
      () => this._do('rollback', { to: version }, `Rolling back to version ${version}`)
    );
  }

  /** The labels: those that were set here, until the server reports them. */
  private get _labels(): ILabels {
    const own = performance.now() < this._ownLabelsUntil ? this._ownLabels : null;
    return own ?? this._model?.labels ?? {};
  }

  private async _setLabels(labels: ILabels, doing: string): Promise<void> {
    if (await this._do('labels', { value: labels }, doing)) {
      this._ownLabels = labels;
      this._ownLabelsUntil = performance.now() + LABELS_MILLIS;
    }
  }

  private _label(name: string, version: Version): void {
    const labels = this._labels;
    const act = async () => {
      this._form.close();
      await this._setLabels({ ...labels, [name]: version }, `Labelling version ${version}`);
    };
    const before = labels[name];
    if (before === undefined || before === version) {
      void act();
      return;
    }
    this._twice(
      `Press again to move ${name} and its requests from version ${before} to version ${version}.`,
      act
    );
  }

  private _unlabel(name: string): void {
    const { [name]: version, ...rest } = this._labels;
    this._twice(
      `Press again to remove ${name} from version ${version}: requests for ${name} will fail.`,
      () => this._setLabels(rest, `Removing ${name}`)
    );
  }

  /** Act only when pressed twice; `question` says what will happen. */
  private _twice(question: string, act: () => Promise<unknown>): void {
    const now = performance.now();
    if (this._asked !== question || now - this._askedAt > CONFIRM_MILLIS) {
      this._asked = question;
      this._askedAt = now;
      this._message.say(question, false);
      return;
    }
    this._asked = '';
    void act();
  }
}

function same(a: ILabels, b: ILabels): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every(name => a[name] === b[name]);
}

/** Set the value of a control, unless it is the same. */
function setValue(control: HTMLInputElement | HTMLSelectElement, value: string): void {
  if (control.value !== value) {
    control.value = value;
  }
}
