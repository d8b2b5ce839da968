// What follows from what the agent says: pure functions, tested by `npm test`.

import type { Figures, Incident, Snapshot } from "./model.ts";

export type Tone = "good" | "warn" | "bad" | "unknown";

/** How the page is connected to the agent. */
export type Link =
  | { state: "connecting" }
  | { state: "live"; at: number }
  | { state: "disconnected"; at: number | null; reason: string };

export interface Verdict {
  tone: Tone;
  headline: string;
  detail: string;
}

/** After so long without word, what is shown may be wrong. */
export const STALE_MS = 5_000;

/** Whether what is shown is older than it should be. */
export function isStale(link: Link, now: number): boolean {
  return link.state === "live" && now - link.at > STALE_MS;
}

/** Whether everything is all right, in one sentence. */
export function verdict(snapshot: Snapshot | null, link: Link, now: number): Verdict {
  if (link.state === "disconnected") {
    return { tone: "unknown", headline: "No word from the agent", detail: link.reason };
  }
  if (snapshot === null) {
    return { tone: "unknown", headline: "Looking for the agent…", detail: "The first figures are on their way." };
  }
  if (isStale(link, now)) {
    const age = duration(now - (link.state === "live" ? link.at : now));
    return { tone: "unknown", headline: "The agent has fallen silent", detail: `What is shown is ${age} old.` };
  }
  const { status, marks } = snapshot;
  if (!status.ready) {
    const reason = status.reason ?? "No reason is known.";
    return { tone: "bad", headline: "Events wait in the journal", detail: `Nothing is lost. ${sentence(reason)}` };
  }
  const slots = status.destinations.flatMap((destination) => destination.slots);
  if (slots.length === 0) {
    return { tone: "unknown", headline: "Nothing is shipped yet", detail: "No slot of the journal has been taken up." };
  }
  const pressed = slots.find((slot) => slot.backlog.level !== "normal");
  if (pressed) {
    const reason = pressed.backlog.reason ?? `The backlog is ${pressed.backlog.level}.`;
    return { tone: "warn", headline: "Delivering, with a backlog", detail: sentence(reason) };
  }
  if (marks.firing > 0) {
    const alerts = marks.firing === 1 ? "One alert fires." : `${marks.firing} alerts fire.`;
    return { tone: "warn", headline: "Delivering, and something needs a look", detail: alerts };
  }
  if (!marks.file_in_use) {
    return { tone: "warn", headline: "Delivering, by an older configuration", detail: "What the file says is not in use." };
  }
  return { tone: "good", headline: "Everything is being delivered", detail: "Every committed event is in Kafka or on its way." };
}

/** A reading for the charts; rates are per second. */
export interface Reading {
  time: number;
  received: number | null;
  published: number | null;
  backlog: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** What has come per second between two readings of a count; nothing where it began anew. */
export function rate(before: number, after: number, elapsedMs: number): number | null {
  return elapsedMs <= 0 || after < before ? null : ((after - before) * 1_000) / elapsedMs;
}

export function reading(before: Figures | null, snapshot: Snapshot): Reading {
  const { figures } = snapshot;
  const elapsed = before === null ? 0 : figures.time - before.time;
  const latency = figures.latency_ms;
  return {
    time: figures.time,
    received: before && rate(before.received, figures.received, elapsed),
    published: before && rate(before.published, figures.published, elapsed),
    backlog: backlogBytes(snapshot),
    p50: latency?.p50 ?? null,
    p95: latency?.p95 ?? null,
    p99: latency?.p99 ?? null,
  };
}

/** The largest backlog of a destination: all of them have the same journal. */
export function backlogBytes(snapshot: Snapshot): number {
  const of = snapshot.status.destinations.map((destination) =>
    destination.slots.reduce((sum, slot) => sum + slot.backlog.bytes, 0),
  );
  return Math.max(0, ...of);
}

/** The soonest of what may happen. */
export function soonest(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.min(...known);
}

export function isOpen(incident: Incident): boolean {
  return incident.state === "open" || incident.state === "acknowledged" || incident.state === "mitigating";
}

/** The labels that a silence of the incident's alert matches. */
export function silenceOf(incident: Incident): Record<string, string> {
  return { alertname: incident.alert, ...incident.labels };
}

/** The text of an input as a value of the configuration: nothing takes the value away. */
export function wished(text: string): string | null {
  return text.trim() === "" ? null : text.trim();
}

export function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value: number): string {
  let [amount, unit] = [Math.abs(value), 0];
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || amount >= 100 ? 0 : 1;
  return `${value < 0 ? "−" : ""}${amount.toFixed(digits)} ${UNITS[unit]}`;
}

/** A rate or a count, short. */
export function number(value: number | null): string {
  if (value === null) return "–";
  if (value >= 1_000_000) return `${(value / 1_000_000).toFixed(1)} M`;
  if (value >= 10_000) return `${(value / 1_000).toFixed(1)} k`;
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}

export function milliseconds(value: number | null): string {
  if (value === null) return "–";
  if (value >= 10_000) return duration(value);
  if (value >= 1_000) return `${(value / 1_000).toFixed(1)} s`;
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} ms`;
}

/** The two largest units of a duration in milliseconds. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + 2).filter(([amount]) => amount > 0);
  return shown.map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

/** The locale that writes `2026-01-31 23:59:59`. */
const ISO = "sv-SE";

export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString(ISO);
}

/** As the clocks of whoever looks have it. */
export function date(ms: number): string {
  return new Date(ms).toLocaleString(ISO);
}
