// What has gone wrong, what happened, and what somebody does about it.

import { change, get } from "./api.ts";
import { clock, date, isOpen, silenceOf } from "./derive.ts";
import { ask, badge, byId, empty, fill, h, notify } from "./dom.ts";
import type { Incident } from "./model.ts";

const HOUR_MS = 3_600_000;
const list = h("div", { class: "cards" });
/** Those whose timeline was opened or closed by hand. */
const opened = new Map<string, boolean>();

export function beginIncidents(): void {
  list.append(empty("Loading…"));
  byId("incidents").append(list);
}

export async function renderIncidents(): Promise<void> {
  const { incidents } = await get<{ incidents: Incident[] }>("incidents");
  const shown = [...incidents.filter(isOpen), ...incidents.filter((incident) => !isOpen(incident)).slice(0, 5)];
  fill(list, shown, () => (shown.length === 0 ? [empty("Nothing has gone wrong.")] : shown.map(card)));
}

function card(incident: Incident): HTMLElement {
  const { id, title, state, severity, timeline } = incident;
  const entries = timeline.map(({ time, who, what }) =>
    h("li", {}, h("time", { datetime: new Date(time).toISOString() }, clock(time)), ` ${what} `, h("small", {}, who)),
  );
  const details = h(
    "details",
    { open: opened.get(id) ?? isOpen(incident) },
    h("summary", {}, `Timeline of ${id}, since ${date(incident.opened)}`),
    h("ol", { class: "timeline" }, ...entries),
  );
  details.addEventListener("toggle", () => opened.set(id, details.open));
  return h(
    "article",
    { class: "card", id: `incident-${id}` },
    h("h3", {}, `${title} `, badge(isOpen(incident) ? "bad" : "good", state), " ", badge("unknown", severity)),
    details,
    isOpen(incident) ? actions(incident) : null,
  );
}

function actions(incident: Incident): HTMLElement {
  const { id } = incident;
  const button = (text: string, act: () => Promise<void>) =>
    h("button", { type: "button", "aria-label": `${text} ${id}`, onclick: () => void tried(act) }, text);
  return h(
    "div",
    { class: "actions", "data-takes": "operator" },
    incident.state === "open" ? button("Acknowledge", () => respond(id, "acknowledge", "is acknowledged")) : null,
    button("Silence", () => silence(incident)),
    button("Resolve", () => respond(id, "resolve", "is resolved")),
  );
}

async function respond(id: string, action: string, done: string): Promise<void> {
  await change("POST", `incidents/${encodeURIComponent(id)}/${action}`);
  notify(`${id} ${done}.`, "good");
}

async function silence(incident: Incident): Promise<void> {
  const hours = h("select", { name: "hours" }, ...["1", "2", "8", "24"].map((n) => h("option", { value: n }, `${n} h`)));
  const comment = h("input", { name: "comment", required: true, autocomplete: "off" });
  const form = await ask(
    `Silence ${incident.alert}`,
    [
      h("p", {}, "Nobody is told of this alert meanwhile. It goes on being watched."),
      h("label", {}, "For how long ", hours),
      h("label", {}, "Why ", comment),
    ],
    "Silence",
  );
  if (form === null) return;
  await change("POST", "silences", {
    match: silenceOf(incident),
    duration_ms: Number(form.get("hours")) * HOUR_MS,
    comment: form.get("comment"),
  });
  notify(`${incident.alert} is silenced.`, "good");
}

async function tried(act: () => Promise<void>): Promise<void> {
  try {
    await act();
    await renderIncidents();
  } catch (error) {
    notify(String((error as Error).message), "bad");
  }
}
