// The one glance: verdict, key figures, charts.

import { Chart, KEPT } from "./charts.ts";
import type { Link, Reading } from "./derive.ts";
import { bytes, clock, duration, isStale, milliseconds, number, reading, soonest, verdict } from "./derive.ts";
import { byId, h, say } from "./dom.ts";
import type { Figures, Snapshot } from "./model.ts";

const SYMBOLS = { good: "✓", warn: "!", bad: "✕", unknown: "?" };

interface Tile {
  value: HTMLElement;
  more: HTMLElement;
}

export class Overview {
  readonly #symbol = h("span", { class: "symbol", "aria-hidden": "true" });
  readonly #headline = h("p", { class: "headline" });
  readonly #detail = h("p", { class: "detail" });
  readonly #tiles = {
    flow: tile("Delivered", "events a second"),
    latency: tile("Latency", "from commit to acknowledgement, the last minute"),
    backlog: tile("Backlog", "what waits in the journal"),
    failures: tile("Failed logins", "since the agent started"),
  };
  readonly #flow = new Chart(
    "Throughput, events a second",
    [
      { name: "received", colour: "second" },
      { name: "delivered", colour: "first" },
    ],
    number,
  );
  readonly #latency = new Chart(
    "Latency",
    [
      { name: "p50", colour: "first" },
      { name: "p95", colour: "second" },
      { name: "p99", colour: "third" },
    ],
    milliseconds,
  );
  readonly #backlog = new Chart(
    "Backlog",
    [{ name: "waiting", colour: "third" }],
    (value) => (value === null ? "–" : bytes(value)),
    4_096,
  );
  readonly #readings: Reading[] = [];
  #before: Figures | null = null;

  constructor() {
    const words = h("div", { role: "status", "aria-live": "polite" }, this.#headline, this.#detail);
    byId("verdict").append(this.#symbol, words);
    byId("flow").append(h("div", { class: "charts" }, this.#flow.element, this.#latency.element, this.#backlog.element));
  }

  /** Says how things stand, and how sure that is. */
  judge(snapshot: Snapshot | null, link: Link, now: number): void {
    const { tone, headline, detail } = verdict(snapshot, link, now);
    byId("verdict").className = tone;
    say(this.#symbol, SYMBOLS[tone]);
    say(this.#headline, headline);
    say(this.#detail, detail);
    const isOld = link.state === "disconnected" || isStale(link, now);
    document.body.classList.toggle("stale", isOld && snapshot !== null);
    const of = byId("link");
    of.className = `pill ${link.state === "live" && !isOld ? "good" : link.state === "connecting" ? "unknown" : "bad"}`;
    say(of, said(link, isOld));
    document.title = `${SYMBOLS[tone]} ${headline} · Keyferry`;
  }

  render(snapshot: Snapshot): void {
    const read = reading(this.#before, snapshot);
    this.#before = snapshot.figures;
    this.#readings.push(read);
    if (this.#readings.length > KEPT) this.#readings.shift();
    this.#show(snapshot, read);
    this.#draw();
  }

  redraw(): void {
    for (const chart of [this.#flow, this.#latency, this.#backlog]) chart.redraw();
  }

  #show({ status, figures }: Snapshot, read: Reading): void {
    const slots = status.destinations.flatMap((destination) => destination.slots);
    const { flow, latency, backlog, failures } = this.#tiles;
    say(flow.value, number(read.published));
    say(flow.more, `events a second; ${number(figures.published)} since the start`);
    say(latency.value, milliseconds(figures.latency_ms?.p99 ?? null));
    const others = figures.latency_ms;
    say(
      latency.more,
      others === null
        ? "p99; nothing was acknowledged in the last minute"
        : `p99; p95 ${milliseconds(others.p95)}, p50 ${milliseconds(others.p50)}, the last minute`,
    );
    say(backlog.value, bytes(read.backlog));
    const full = soonest(slots.map((slot) => slot.backlog.time_to_full_s));
    const oldest = Math.max(0, ...slots.map((slot) => slot.backlog.oldest_ms ?? 0));
    const parts = [
      oldest >= 1_000 ? `oldest ${duration(oldest)}` : "nothing is old",
      full === null ? "not filling up" : `full in ${duration(full * 1_000)}`,
    ];
    say(backlog.more, parts.join("; "));
    say(failures.value, number(figures.login_failures));
    say(failures.more, `beside ${number(figures.logins)} logins, since the start`);
  }

  #draw(): void {
    const times = this.#readings.map((one) => one.time);
    const column = (key: keyof Reading) => this.#readings.map((one) => one[key]);
    this.#flow.draw(times, [column("received"), column("published")]);
    this.#latency.draw(times, [column("p50"), column("p95"), column("p99")]);
    this.#backlog.draw(times, [column("backlog")]);
  }
}

function tile(name: string, more: string): Tile {
  const of = { value: h("p", { class: "value" }, "–"), more: h("p", { class: "more" }, more) };
  byId("tiles").append(h("div", { class: "card tile" }, h("h2", {}, name), of.value, of.more));
  return of;
}

function said(link: Link, isOld: boolean): string {
  if (link.state === "connecting") return "Connecting";
  if (link.state === "live") return isOld ? `Stale since ${clock(link.at)}` : "Live";
  return link.at === null ? "Disconnected" : `Disconnected since ${clock(link.at)}`;
}
