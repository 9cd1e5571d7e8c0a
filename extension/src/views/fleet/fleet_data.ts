/** The data of a fleet explorer: what is chosen, and what came of it. Does not touch the page. */

import { roundDown, roundUp } from '../../charts/axes';
import { countText, durationText } from '../../charts/text';
import type { FLEET_SLIDERS, FleetPhase } from '../../protocol/generated';

export type SliderName = (typeof FLEET_SLIDERS)[number];
export type Choice = Record<SliderName, number> & { policy: string; event: string };

/** Times are seconds of virtual time. */
export interface ISpell {
  phase: FleetPhase;
  start: number;
  end: number;
}

export interface ILane {
  server: number;
  /** The requests in the server, at equal steps of the time. */
  queue: number[];
  spells: ISpell[];
}

/** Latencies are microseconds; null without an answer. */
export interface IPolicy {
  policy: string;
  p50: number | null;
  p99: number | null;
  longest: number;
  /** A share from 0 to 1. */
  failed: number;
}

/** What came of a choice. */
export interface IFleet {
  choice: Choice;
  sentence: string;
  policiesSentence: string;
  requests: number;
  /** From the first to the last arrival. */
  seconds: number;
  /** How long the simulation took. */
  millis: number;
  /** All lists are equally long. */
  latency: { at: number[]; p50: (number | null)[]; p99: (number | null)[]; failed: number[] };
  lanes: ILane[];
  policies: IPolicy[];
}

export const TITLES: Record<SliderName, string> = {
  rate: 'offered rate',
  servers: 'servers',
  balancers: 'balancers',
  report_interval_micros: 'reports every',
  batch_timeout_micros: 'delay',
  max_batch_size: 'max_batch_size'
};

export function valueText(slider: SliderName, value: number): string {
  switch (slider) {
    case 'rate':
      return `${countText(value)}/s`;
    case 'report_interval_micros':
      return value === 0 ? 'none' : durationText(value);
    case 'batch_timeout_micros':
      return value === 0 ? '0' : durationText(value);
    default:
      return String(value);
  }
}

/** The range of latencies in microseconds, with round ends that keep still while a slider moves. */
export function latencyRange({ latency }: IFleet): [number, number] {
  const seen = [...latency.p50, ...latency.p99].filter(
    (micros): micros is number => micros !== null && micros > 0
  );
  if (seen.length === 0) {
    return [1e3, 1e5];
  }
  return [roundDown(Math.min(...seen) * 0.8), roundUp(Math.max(...seen) * 1.3)];
}

/** The height of a lane, in requests. */
export function laneHeight({ lanes }: IFleet): number {
  return roundUp(Math.max(1, ...lanes.flatMap(lane => lane.queue)), [1, 1.5, 2, 3, 5, 10]);
}

/** The phases that are marked, in the order of the legend. */
export const MARKED = ['starting', 'slower', 'draining', 'away', 'lost', 'silent'] as const;
export type MarkedPhase = (typeof MARKED)[number];

export function isMarked(phase: FleetPhase): phase is MarkedPhase {
  return (MARKED as readonly string[]).includes(phase);
}

/** Those that occur. */
export function phasesOf({ lanes }: IFleet): MarkedPhase[] {
  const met = new Set(lanes.flatMap(lane => lane.spells.map(spell => spell.phase)));
  return MARKED.filter(phase => met.has(phase));
}

/** How much was simulated, in words. */
export function workText({ requests, seconds, millis }: IFleet): string {
  const count = requests.toLocaleString('en');
  return (
    `${count} requests, ${durationText(seconds * 1e6)} of virtual time; ` +
    `simulated in ${durationText(millis * 1e3)}`
  );
}

export function percent(share: number): string {
  const value = 100 * share;
  return value > 0 && value < 0.1 ? '< 0.1 %' : `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

export function microsText(micros: number | null): string {
  return micros === null ? '–' : durationText(micros);
}

export const ROW_TITLES = ['time', 'p50', 'p99', 'failed', 'servers', 'longest queue'];

/** The same as the charts, a row for each point of the latency. */
export function rows({ latency, lanes, seconds }: IFleet): string[][] {
  return latency.at.map((at, i) => {
    const queues = lanes.map(({ queue }) => queue[Math.floor((at / seconds) * queue.length)]);
    const serving = lanes.filter(({ spells }) =>
      spells.some(
        ({ phase, start, end }) =>
          start <= at && at < end && (phase === 'serving' || phase === 'slower')
      )
    );
    return [
      durationText(at * 1e6),
      microsText(latency.p50[i]),
      microsText(latency.p99[i]),
      String(latency.failed[i]),
      String(serving.length),
      String(Math.max(0, ...queues))
    ];
  });
}

export function sameChoice(a: Choice, b: Choice): boolean {
  return (Object.keys(a) as (keyof Choice)[]).every(name => a[name] === b[name]);
}
