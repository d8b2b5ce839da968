// What the agent says, as far as the page shows it: see docs/openapi.json. Times are milliseconds since the Unix epoch.

export type Role = "viewer" | "operator" | "admin";

export interface Session {
  who: string | null;
  role: Role | null;
  login: string | null;
  logout: string | null;
}

export type State = "stopped" | "idle" | "delivering" | "draining" | "blocked" | "waiting";
export type Level = "normal" | "elevated" | "high" | "critical";

export interface Backlog {
  level: Level;
  reason: string | null;
  bytes: number;
  oldest_ms: number | null;
  growth_bytes_per_s: number;
  time_to_full_s: number | null;
  used_percent: number | null;
}

export interface Breaker {
  mode: "auto" | "open" | "closed";
  state: "closed" | "open" | "half-open";
  reason: string | null;
  since: number;
  next_attempt: number | null;
  opened_total: number;
}

export interface Delivery {
  slot: string;
  state: State;
  reason: string | null;
  counts: { published: number; dead_letters: number; held: number };
  last_delivery: number | null;
  backlog: Backlog;
  breaker: Breaker;
}

export interface Destination {
  name: string;
  state: State;
  slots: Delivery[];
}

export interface Status {
  agent: string;
  started: number;
  ready: boolean;
  reason: string | null;
  destinations: Destination[];
}

export interface Quantiles {
  p50: number;
  p99: number;
}

export interface Connection {
  id: number;
  state: string;
  round_trip_ms: Quantiles | null;
  requests_in_flight: number;
  queue_records: number;
  reconnects: number;
  last_error: string | null;
}

export interface OfShipment {
  destination: string;
  slot: string;
}

export interface Pool extends OfShipment {
  generation: number;
  connections: Connection[];
}

export interface Tuner extends OfShipment {
  profile: string;
  frozen: boolean;
  pace: string;
  tuning: { batch_size: number; linger_ms: number; compression: string; max_in_flight: number; connections: number };
  decisions: { time: number; text: string }[];
}

export interface Counted {
  name: string;
  count: number;
}

export interface Figures {
  time: number;
  latency_ms: { p50: number; p95: number; p99: number } | null;
  received: number;
  published: number;
  events: Counted[];
  logins: number;
  login_failures: number;
  login_errors: Counted[];
}

export interface Marks {
  config: string | null;
  config_version: number | null;
  trying: boolean;
  probation: boolean;
  file_in_use: boolean;
  incidents: number;
  happenings: number;
  last_happening: number | null;
  firing: number;
}

export interface Snapshot {
  status: Status;
  figures: Figures;
  marks: Marks;
  pools: Pool[];
  tuners: Tuner[];
}

export interface Incident {
  id: string;
  alert: string;
  title: string;
  severity: string;
  state: "open" | "acknowledged" | "mitigating" | "resolved" | "closed";
  labels: Record<string, string>;
  opened: number;
  timeline: { time: number; who: string; what: string }[];
}

export interface Setting {
  key: string;
  value: string | null;
  default: string;
  origin: string;
  class: "live" | "swap" | "restart";
}

export interface Version {
  version: number;
  hash: string;
  author: string;
  cause: string;
  time: number;
  keys: string[];
}

export interface Config {
  version: Version;
  probation_until: number | null;
  trying: string[] | null;
  fallback: string | null;
  file_refused: string | null;
  settings: Setting[];
}

export interface Step {
  key: string;
  class: string;
  before: string | null;
  after: string | null;
}

export interface Change {
  outcome: "committed" | "unchanged" | "planned" | "trying";
  version: number;
  ticket: number | null;
  steps: Step[];
}
