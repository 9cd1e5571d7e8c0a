/** The dashboard's right side: everything about one model of one server. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { Poll } from '@lumino/polling';

import { make } from '../charts/elements';
import { aboutModel, listExperiments, readLedger, readLog } from '../protocol/api';
import { type IModelAbout, TIMELINE_NOTE } from '../protocol/generated';
import type { Message } from '../protocol/stream';
import type { IBatchVersion } from '../views/batches/batches_data';
import { BatchesPanel } from '../views/batches/batches_panel';
import { ServerCard } from '../views/card/card';
import { ExperimentsPanel } from '../views/experiments/experiments_panel';
import { LedgerPanel } from '../views/ledger/ledger_panel';
import { LogPanel } from '../views/log/log_panel';
import { LiveTimeline } from '../views/timeline/timeline';
import { Feed, type IFeedOptions } from './feed';

const LOOK_MILLIS = 2000;
/** While nothing happens. */
const QUIET_LOOK_MILLIS = 5000;
const QUIET_SECONDS = 10;
const MAX_BACKOFF_MILLIS = 30_000;

interface INews {
  now: number;
  seq: number;
  events: unknown[];
  seconds: number[][];
  model: { versions: IBatchVersion[] };
}

const every = (interval: number) => ({ interval, backoff: true, max: MAX_BACKOFF_MILLIS });

export interface IDetailOptions extends IFeedOptions {
  trans: TranslationBundle;
  /** Puts a cell into the notebook. */
  insert: (code: string) => void;
}

export class Detail {
  readonly node = make('div.wb-Dashboard-grid');
  private readonly _feed: Feed;
  private readonly _batches: BatchesPanel;
  private readonly _ledger: LedgerPanel;
  private readonly _log: LogPanel;
  private readonly _experiments: ExperimentsPanel;
  private readonly _poll: Poll;
  private readonly _views: { dispose(): void }[] = [];
  private readonly _left = make('div.wb-Dashboard-column');
  private readonly _right = make('div.wb-Dashboard-column');
  private _disposed = false;
  private _happened = performance.now();
  /** The number of the server's last event. */
  private _seq = -1;
  private _shown = false;

  constructor(
    readonly server: string,
    readonly model: string,
    private readonly _options: IDetailOptions
  ) {
    const { settings, trans, insert } = _options;
    this._feed = new Feed(server, model, _options);
    this._batches = new BatchesPanel(trans);
    this._ledger = new LedgerPanel(trans);
    this._log = new LogPanel(model, trans);
    this._experiments = new ExperimentsPanel(settings, insert, trans);
    const watch = this._feed.wire();
    watch.onNews = message => {
      if (message.kind === 'pulse') {
        const pulse = message.pulse as INews;
        this._seq = pulse.seq;
        this._hasHappened(pulse);
        this._batches.add(pulse.now, pulse.model.versions);
      } else if (message.kind === 'ended') {
        this._log.clear();
      }
    };
    this._poll = new Poll({
      auto: false,
      name: 'serving-workbench-lab:dashboard',
      factory: () => this._look(),
      frequency: every(LOOK_MILLIS),
      standby: () => !this._shown || document.hidden
    });
    this.node.append(this._left, this._right);
    void aboutModel(settings, server, model)
      .catch((): IModelAbout => ({ address: '', snippets: {} }))
      .then(about => this._build(about));
  }

  /** A message of the stream, of any model. */
  receive(message: Message): void {
    this._feed.receive(message);
  }

  /** The page is visible. */
  show(): void {
    this._shown = true;
    if (this._views.length > 0) {
      this._feed.follow();
      void this._poll.start();
    }
  }

  /** The page is hidden: ask for nothing. */
  hide(): void {
    this._shown = false;
    this._feed.rest();
    void this._poll.stop();
  }

  dispose(): void {
    this._disposed = true;
    this._poll.dispose();
    this._feed.dispose();
    this._ledger.dispose();
    this._views.forEach(view => view.dispose());
    this.node.remove();
  }

  /** Poll at once if something happened and polling had slowed down. */
  private _hasHappened(pulse: INews): void {
    const requests = pulse.seconds.some(([, , answered, failed]) => answered + failed > 0);
    if (pulse.events.length === 0 && !requests) {
      return;
    }
    this._happened = performance.now();
    if (this._poll.frequency.interval === QUIET_LOOK_MILLIS && this._shown) {
      this._poll.frequency = every(LOOK_MILLIS);
      void this._poll.refresh();
    }
  }

  private _build(about: IModelAbout): void {
    if (this._disposed) {
      return;
    }
    const name = this.model === this.server ? this.model : `${this.model} on ${this.server}`;
    const card = make('div.wb-live.wb-Panel.wb-Panel-card');
    const timeline = make('div.wb-live.wb-Panel.wb-Panel-timeline');
    this._left.append(card, this._batches.node, this._ledger.node);
    this._right.append(timeline, this._log.node, this._experiments.node);
    const face = {
      name,
      address: about.address,
      outcome: '',
      snippets: Object.entries(about.snippets)
    };
    this._views.push(
      new ServerCard(card, face, this._feed.wire()),
      new LiveTimeline(timeline, { name: 'Transitions', note: TIMELINE_NOTE }, this._feed.wire())
    );
    if (this._shown) {
      this.show();
    }
  }

  private async _look(): Promise<void> {
    const { settings } = this._options;
    const [ledger, log, experiments] = await Promise.all([
      readLedger(settings, this.server),
      this._seq === this._log.seq ? null : readLog(settings, this.server, this._log.seq),
      listExperiments(settings)
    ]);
    if (!this._disposed) {
      this._ledger.show(ledger);
      if (log !== null) {
        this._log.add(log.events, log.last_seq);
      }
      this._experiments.show(experiments);
      const quiet =
        experiments.running.length === 0 &&
        performance.now() - this._happened > QUIET_SECONDS * 1e3;
      this._poll.frequency = every(quiet ? QUIET_LOOK_MILLIS : LOOK_MILLIS);
    }
  }
}
