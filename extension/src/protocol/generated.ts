/** From Python; written by `python -m workbench.jupyter.typescript`. */

import type { Version } from './version';

/** A version's state as clients see it. */
export type PublicState = 'START' | 'LOADING' | 'AVAILABLE' | 'UNLOADING' | 'END';

/** The views of the widgets. */
export type Face = 'card' | 'comparison' | 'fleet' | 'fleetCard' | 'guess' | 'ledger' | 'sweep' | 'timeline' | 'transitions';

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

/** The sliders of a fleet explorer. */
export const FLEET_SLIDERS = [
  'rate',
  'servers',
  'balancers',
  'report_interval_micros',
  'batch_timeout_micros',
  'max_batch_size'
] as const;

/** What a server of a simulated fleet does. */
export type FleetPhase = 'absent' | 'starting' | 'serving' | 'slower' | 'draining' | 'away' | 'lost' | 'silent';

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

/** Why a version is not published that would break callers. */
export const SIGNATURE_CHANGE = 'signature-change' as const;

/** Another experiment holds the server. */
export const HELD = 'held' as const;

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
  /** Owner and purpose. */
  readonly label: string;
  /** As in the ledger's cells; `how`: ``measured`` or ``estimated``. */
  readonly kind: string;
  /** Negative only for `unattributed`, where memory was counted twice. */
  readonly bytes: number;
  readonly how: string;
  readonly model: string | null;
  readonly version: Version | null;
}

/** A device and its parts, whose bytes add up to `total`. */
export interface IDevice {
  readonly device: string;
  readonly total: number;
  /** What `total` is the limit of. */
  readonly scope: string;
  /** The versions' budget in bytes; `reserved`: the part of it in use. */
  readonly limit: number | null;
  readonly reserved: number;
  readonly parts: readonly IPart[];
  readonly taken: number;
  readonly budget_at: number | null;
  readonly magnified_to: number | null;
  readonly summary: string;
}

/** `code` is the name of a `core.status.Code`, `reason` the value of a `core.status.Reason`. */
export interface IErrorDescription {
  readonly code: string;
  readonly message: string;
  readonly reason?: string;
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

/** A version in the list of servers. */
export interface IVersion {
  readonly version: Version;
  readonly state: PublicState;
  /** Why it failed to load; null where it did not. */
  readonly error: string | null;
  /** Its private memory (USS); null if it was not measured. */
  readonly memory_bytes: number | null;
}

/** A model in the list of servers. */
export interface IModel {
  readonly name: string;
  /** Highest first. */
  readonly versions: readonly IVersion[];
}

/** A server in the list of servers. */
export interface IServer {
  readonly name: string;
  /** The data plane's address; requests to it need a token that is not sent to the page. */
  readonly url: string;
  /** The Jupyter kernel that supervises it; null where none does. */
  readonly kernel_id: string | null;
  /** The supervisor of an unreachable one restarts it; a dead one was killed with its own. */
  readonly state: 'running' | 'unreachable' | 'dead';
  /** Of all its processes (PSS); null where that is not known. */
  readonly memory_bytes: number | null;
  /** The host memory for all of its versions; null where that is not known. */
  readonly budget_bytes: number | null;
  /** Since the last poll. */
  readonly requests_per_second: number;
  readonly models: readonly IModel[];
  /** Of a dead one: why it cannot be started again; null where it can. */
  readonly cannot_restart?: string | null;
}

/** The outcome in a sentence. */
export interface IDone {
  readonly message: string;
  /** Of the server that was started. */
  readonly name?: string;
  /** The absolute path of the folder that was published. */
  readonly path?: string;
}

/** A folder of the user's files, and the versions that can be served from it. */
export interface IFolder {
  /** `versions` is a folder of numbered versions. */
  readonly kind: 'saved_model' | 'versions' | null;
  /** A possible name for its server. */
  readonly name: string;
  readonly versions: readonly Version[];
  /** Why the folder may not be the user's own; null if it is. */
  readonly foreign: string | null;
}

/** A model's address, and code that sends it requests, by language. */
export interface IModelAbout {
  readonly address: string;
  readonly snippets: Readonly<Record<string, string>>;
}

/** The memory of each device by owner. */
export interface ILedger {
  readonly devices: readonly IDevice[];
  readonly notes: readonly string[];
}

/** An event as `core.events.Event` has it. */
export interface ILogEvent {
  readonly seq: number;
  readonly kind: string;
  readonly monotonic: number;
  readonly wall: number;
  readonly model?: string;
  readonly version?: Version;
  readonly data?: Readonly<Record<string, unknown>>;
  /** In TensorFlow Serving's wording. */
  readonly line?: string;
}

/** A part of a server's event log. */
export interface ILog {
  readonly last_seq: number;
  /** The number of events that were left out before these. */
  readonly missed: number;
  readonly events: readonly ILogEvent[];
}

/** A kept experiment without its data. */
export interface IExperiment {
  readonly number: number;
  readonly kind: string;
  readonly model: string;
  /** In seconds since the epoch. */
  readonly saved_at: number;
  readonly summary: string;
}

/** An experiment that runs in some notebook or terminal. */
export interface IRunningExperiment {
  /** Among the running ones; it gets another one when it is saved. */
  readonly number: number;
  readonly kind: string;
  readonly model: string;
  readonly server: string;
  readonly started_at: number;
  readonly told_at: number;
  /** Its progress in words. */
  readonly text: string;
  /** Its progress from 0 to 1; null if unknown. */
  readonly share: number | null;
  readonly cancelled: boolean;
}

/** The experiments of all models, or of one. */
export interface IExperiments {
  /** The saved ones, latest first. */
  readonly experiments: readonly IExperiment[];
  /** Oldest first. */
  readonly running: readonly IRunningExperiment[];
}

/** A table of texts. */
export interface ITable {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** An experiment with its result. */
export interface IFound {
  readonly number: number;
  readonly kind: string;
  readonly model: string;
  readonly saved_at: number;
  readonly summary: string;
  readonly sentences: readonly string[];
  readonly tables: readonly ITable[];
  /** A PNG in base64. */
  readonly picture: string;
}

/** A lab and the user's progress in it. */
export interface ILab {
  /** The file's name, which begins with the lab's number. */
  readonly name: string;
  readonly title: string;
  /** In a few words; empty where there are none. */
  readonly idea: string;
  /** Where the user has it; null where it was never opened. */
  readonly path: string | null;
  /** How far it was run, according to its saved outputs. */
  readonly state: LabState;
}
