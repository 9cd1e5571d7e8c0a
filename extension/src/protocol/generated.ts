/** From Python; written by `python -m workbench.jupyter.typescript`. */

import type { Version } from './version';

/** A version's state as clients see it. */
export type PublicState = 'START' | 'LOADING' | 'AVAILABLE' | 'UNLOADING' | 'END';

/** The views of the widgets. */
export type Face = 'card' | 'comparison' | 'guess' | 'ledger' | 'sweep' | 'timeline' | 'transitions';

/** How far a lab was run. */
export type LabState = 'new' | 'begun' | 'failed' | 'done' | 'unreadable';

/** How one version can replace another. */
export const TRANSITIONS = [
  'smooth',
  'unload_first',
  'unload_first+hold',
  'staged',
  'staged+hold'
] as const;

/** The sliders of a sweep explorer. */
export const AXES = [
  'batch_timeout_micros',
  'max_batch_size',
  'num_batch_threads',
  'rate'
] as const;

/** Why a batch was closed, in words; the keys are the server's. */
export const CLOSE_REASONS = {
  full: 'full',
  timeout: 'timeout',
  executor_idle: 'executor idle',
  drain: 'version unloading',
  split: 'request split'
} as const;

/** Thresholds of the diagnoses, as shares from 0 to 1. */
export const DIAGNOSIS = { mostly: 0.9, rejected: 0.005 } as const;

/** The verdict of a load that the server keeps up with. */
export const STABLE = 'stable' as const;

/** How far back a timeline goes. */
export const KEPT_SECONDS = 600.0;

/** What a timeline's latencies are. */
export const TIMELINE_NOTE = 'latency from when the server accepted a request, a wait for a version included' as const;

/** For light and for dark grounds. */
export const VERSION_COLOURS = {
  light: ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#882255', '#5c4700'],
  dark: ['#56b4e9', '#ff9f43', '#2bd4a4', '#e85d9e', '#f0e442', '#ffffff']
} as const;

/** Of requests and versions that failed. */
export const FAILED_COLOUR = { light: '#b00020', dark: '#ff6b81' } as const;

/** Of memory that belongs to no version. */
export const PROCESS_COLOUR = { light: '#6e7781', dark: '#9aa4ae' } as const;

/** How much of its version's colour a state's bar has, and how it is hatched. */
export const STATE_LOOKS = {
  START: { opacity: 0.15, hatch: null },
  LOADING: { opacity: 0.35, hatch: 'rising' },
  AVAILABLE: { opacity: 1.0, hatch: null },
  UNLOADING: { opacity: 0.35, hatch: 'falling' }
} as const;

/** How much of its version's colour each kind of memory has. */
export const LEDGER_SHADES = {
  weights: 1.0,
  activations: 0.7,
  allocator: 0.7,
  runtime: 0.45,
  context: 0.45,
  'shared regions': 0.3,
  'shared runtime': 0.2
} as const;

/** How dark a process without a version is, by its role. */
export const PROCESS_SHADES = { server: 0.9, supervisor: 0.7, zygote: 0.55 } as const;

/** That of any other role. */
export const OTHER_PROCESS = 0.4;

/** That of memory that does not belong to this server. */
export const UNATTRIBUTED = 0.22;

/** One stretch of a device's bar. */
export interface IPart {
  readonly label: string;
  readonly kind: string;
  readonly bytes: number;
  readonly how: string;
  readonly model: string | null;
  readonly version: Version | null;
}

/** A device and its parts, whose bytes add up to `total`. */
export interface IDevice {
  readonly device: string;
  readonly total: number;
  readonly scope: string;
  readonly limit: number | null;
  readonly reserved: number;
  readonly parts: readonly IPart[];
  readonly taken: number;
  readonly budget_at: number | null;
  readonly magnified_to: number | null;
  readonly summary: string;
}

/** `code` is the name of a `core.status.Code`. */
export interface IErrorDescription {
  readonly code: string;
  readonly message: string;
}

/** One version. The optional members come with its load (`signatures` and below). */
export interface IVersionDescription {
  readonly version: Version;
  readonly state: PublicState;
  readonly error: IErrorDescription | null;
  readonly load_seconds: number;
  readonly notes: readonly string[];
}

/** One model: its settings, its versions (highest first), and why others wait. */
export interface IModelDescription {
  readonly name: string;
  readonly transition: string;
  readonly batching: Readonly<Record<string, unknown>> | null;
  readonly labels: Readonly<Record<string, Version>>;
  readonly versions: readonly IVersionDescription[];
  readonly waiting: Readonly<Record<string, string>>;
  readonly held: number;
}
