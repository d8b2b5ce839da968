// Where events go: breaker, backlog and connections of each, what flows, and what the tuner has decided.

import { bytes, clock, date, duration, milliseconds, number } from "./derive.ts";
import { badge, byId, empty, h, refresh, table } from "./dom.ts";
import type { Breaker, Connection, Counted, Delivery, Pool, Snapshot, Tuner } from "./model.ts";

const TONES: Record<string, string> = {
  idle: "good",
  delivering: "good",
  draining: "warn",
  stopped: "unknown",
  blocked: "bad",
  waiting: "bad",
  closed: "good",
  "half-open": "warn",
  open: "bad",
  normal: "good",
  elevated: "warn",
  high: "warn",
  critical: "bad",
  active: "good",
};

function told(word: string, text = word): HTMLElement {
  return badge(TONES[word] ?? "unknown", text);
}

const cards = h("div", { class: "cards" });
const types = h("div", { class: "card" });
const failures = h("div", { class: "card" });
const tuners = h("div", { class: "cards" });

export function beginDestinations(): void {
  byId("destinations").append(cards);
  byId("events").append(h("div", { class: "cards" }, types, failures));
  byId("tuner").append(tuners);
}

export function renderDestinations({ status, figures, pools, tuners: all }: Snapshot): void {
  const shipments = status.destinations.flatMap(({ name, slots }) => slots.map((slot) => ({ name, slot })));
  const of = shipments.map(({ name, slot }) => {
    const pool = pools.find((pool) => pool.destination === name && pool.slot === slot.slot) ?? null;
    return { name, slot, pool };
  });
  refresh(cards, of, () =>
    of.length === 0 ? [empty("Nothing is shipped yet.")] : of.map(({ name, slot, pool }) => card(name, slot, pool)),
  );
  refresh(types, figures.events, () => [h("h3", {}, "By type"), bars(figures.events, "No event has been met yet.")]);
  refresh(failures, figures.login_errors, () => [
    h("h3", {}, "Failed logins, by error"),
    bars(figures.login_errors, "No login has failed."),
  ]);
  refresh(tuners, all, () => (all.length === 0 ? [empty("No tuner is at work.")] : all.map(tuner)));
}

function card(name: string, slot: Delivery, pool: Pool | null): HTMLElement {
  const { backlog, breaker } = slot;
  const facts: [string, (Node | string)[]][] = [
    ["Circuit breaker", [told(breaker.state), ` ${breakerSays(breaker)}`]],
    ["Backlog", [told(backlog.level), ` ${bytes(backlog.bytes)}${growth(backlog.growth_bytes_per_s)}`]],
    [
      "Journal full",
      [backlog.time_to_full_s === null ? "not in sight" : `in ${duration(backlog.time_to_full_s * 1_000)}`],
    ],
    ["Delivered", [number(slot.counts.published), slot.last_delivery === null ? "" : `, last at ${clock(slot.last_delivery)}`]],
    ["Dead letters", [number(slot.counts.dead_letters)]],
    ["Held in doubt", [number(slot.counts.held)]],
  ];
  return h(
    "article",
    { class: "card" },
    h("h3", {}, `${name} · ${slot.slot} `, told(slot.state)),
    slot.reason === null ? null : h("p", { class: "reason" }, slot.reason),
    h("dl", {}, ...facts.flatMap(([term, fact]) => [h("dt", {}, term), h("dd", {}, ...fact)])),
    connections(name, slot.slot, pool),
  );
}

function breakerSays({ mode, reason, next_attempt, opened_total }: Breaker): string {
  const parts = [
    mode === "auto" ? "" : `held ${mode} by an operator`,
    reason ?? "",
    next_attempt === null ? "" : `next attempt at ${clock(next_attempt)}`,
    opened_total === 0 ? "" : opened_total === 1 ? "opened once" : `opened ${opened_total} times`,
  ];
  return parts.filter((part) => part !== "").join("; ");
}

function growth(rate: number): string {
  return rate === 0 ? "" : `, ${rate > 0 ? "+" : ""}${bytes(rate)}/s`;
}

function connections(name: string, slot: string, pool: Pool | null): HTMLElement {
  if (pool === null || pool.connections.length === 0) return empty("No connections yet.");
  const row = (one: Connection) => [
    String(one.id),
    told(one.state),
    one.round_trip_ms === null
      ? "–"
      : `${milliseconds(one.round_trip_ms.p50)} / ${milliseconds(one.round_trip_ms.p99)}`,
    number(one.requests_in_flight),
    number(one.queue_records),
    number(one.reconnects),
    one.last_error ?? "–",
  ];
  const heads = ["Connection", "State", "Round trip p50 / p99", "Requests", "Queue", "Reconnects", "Last error"];
  return table(`Connections to ${name} from ${slot}`, heads, pool.connections.map(row));
}

function bars(all: Counted[], nothing: string): HTMLElement {
  if (all.length === 0) return empty(nothing);
  const most = Math.max(...all.map((one) => one.count));
  const row = ({ name, count }: Counted) => {
    const bar = h("i", { class: "bar", "aria-hidden": "true" });
    bar.style.inlineSize = `${(100 * count) / most}%`;
    return h("li", {}, bar, h("span", {}, name), h("b", {}, number(count)));
  };
  return h("ul", { class: "bars" }, ...all.map(row));
}

function tuner({ destination, slot, profile, pace, frozen, tuning, decisions }: Tuner): HTMLElement {
  const last = decisions.slice(-6).reverse();
  return h(
    "article",
    { class: "card" },
    h("h3", {}, `${destination} · ${slot} `, badge(frozen ? "warn" : "good", frozen ? "frozen" : `${profile}, ${pace}`)),
    h(
      "p",
      {},
      `Batches of ${bytes(tuning.batch_size)}, linger ${tuning.linger_ms} ms, ${tuning.compression}, `,
      `${tuning.max_in_flight} requests on ${tuning.connections} ${tuning.connections === 1 ? "connection" : "connections"}.`,
    ),
    last.length === 0
      ? empty("It has decided nothing yet.")
      : h("ol", { class: "timeline" }, ...last.map((one) => h("li", {}, h("time", {}, date(one.time)), ` ${one.text}`))),
  );
}
