// What is configured, and how it changes: a draft is checked, its differences are shown, and it is applied to the version that was seen, or not at all.

import { change, get } from "./api.ts";
import { date, wished } from "./derive.ts";
import { ask, badge, byId, empty, fill, h, notify, table } from "./dom.ts";
import type { Change, Config, Setting, Step, Version } from "./model.ts";

const CLASSES = { live: "good", swap: "warn", restart: "unknown" };
const LOOK_MS = 500;

const state = h("p", {});
const warnings = h("div", {});
const draftOf = h("form", { class: "card draft", "aria-label": "Draft" });
const filter = h("input", { type: "search", id: "filter", placeholder: "linger", autocomplete: "off" });
const settings = h("div", {});
const history = h("div", {});

let config: Config | null = null;
/** What is wished for, by key; `null` takes a value away. */
const draft = new Map<string, string | null>();
/** What the agent says that the draft would change, since it was asked last. */
let planned: Step[] | null = null;

export function beginConfiguration(): void {
  filter.addEventListener("input", showSettings);
  draftOf.addEventListener("submit", (event) => {
    event.preventDefault();
    void tried(planned === null ? check : apply);
  });
  byId("configuration").append(
    state,
    warnings,
    draftOf,
    h("p", {}, h("label", { for: "filter" }, "Find a setting "), filter),
    settings,
    h("h3", {}, "History"),
    history,
  );
  state.append("Loading…");
  showDraft();
}

export async function renderConfiguration(): Promise<void> {
  const [read, versions] = await Promise.all([get<Config>("config"), get<Version[]>("config/history")]);
  config = read;
  const { version, probation_until, trying, fallback, file_refused } = read;
  const until = probation_until === null ? "" : ` It is on probation until ${date(probation_until)}.`;
  fill(state, [version, probation_until], () => [
    `Version ${version.version} runs, by ${version.author}, since ${date(version.time)}.${until}`,
  ]);
  fill(warnings, [trying, fallback, file_refused], () => [
    trying === null ? null : warning(`A change is being tried: ${trying.join(", ")}.`),
    fallback === null ? null : warning(`The file is not in use: ${fallback}`),
    file_refused === null ? null : warning(`What the file says now is not in use: ${file_refused}`),
  ]);
  fill(history, versions, () => [historyOf(versions)]);
  showSettings();
}

function warning(text: string): HTMLElement {
  return h("p", { class: "reason" }, text);
}

function showSettings(): void {
  if (config === null) return;
  const wanted = filter.value.trim().toLowerCase();
  const all = config.settings;
  // What is set comes first where nothing is looked for: the rest is defaults.
  const shown = all.filter((one) => (wanted === "" ? one.value !== null : one.key.toLowerCase().includes(wanted)));
  fill(settings, shown, () =>
    shown.length === 0
      ? [empty(wanted === "" ? "Nothing is set: every value is its default." : "No setting is called so.")]
      : [table("Settings", ["Key", "Value", "From", "Change", ""], shown.map(rowOf))],
  );
}

function rowOf(setting: Setting): (Node | string)[] {
  const { key, value, origin } = setting;
  const edit = h("button", { type: "button", "aria-label": `Edit ${key}`, "data-takes": "admin", onclick: () => void editSetting(setting) }, "Edit");
  return [
    h("code", {}, key),
    value === null ? h("span", { class: "muted" }, setting.default.replaceAll("`", "")) : h("code", {}, value),
    origin,
    badge(CLASSES[setting.class] ?? "unknown", setting.class),
    setting.class === "restart" ? "" : edit,
  ];
}

async function editSetting({ key, value, default: standard }: Setting): Promise<void> {
  const input = h("input", { name: "value", value: draft.get(key) ?? value ?? "", autocomplete: "off" });
  const form = await ask(
    `Edit ${key}`,
    [h("label", {}, "Value ", input), h("p", { class: "muted" }, `Empty takes it away. Default: ${standard.replaceAll("`", "")}.`)],
    "Add to the draft",
  );
  if (form === null) return;
  draft.set(key, wished(String(form.get("value"))));
  planned = null;
  showDraft();
  draftOf.querySelector<HTMLElement>("button.primary")?.focus();
}

function showDraft(): void {
  draftOf.hidden = draft.size === 0;
  const wishes = [...draft].map(([key, value]) =>
    h("li", {}, h("code", {}, key), " → ", h("code", {}, value ?? "(taken away)")),
  );
  draftOf.replaceChildren(
    h("h3", {}, "Draft"),
    planned === null ? h("ul", {}, ...wishes) : differences("What the draft changes", planned),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", onclick: discard }, "Discard"),
      h("button", { class: "primary" }, planned === null ? "Check" : "Apply"),
    ),
  );
}

function discard(): void {
  draft.clear();
  planned = null;
  showDraft();
}

function differences(caption: string, steps: Step[]): HTMLElement {
  if (steps.length === 0) return empty("It says what runs already.");
  const row = ({ key, class: of, before, after }: Step) => [
    h("code", {}, key),
    h("del", {}, before ?? "default"),
    h("ins", {}, after ?? "default"),
    of,
  ];
  return table(caption, ["Key", "Before", "After", "Change"], steps.map(row));
}

async function check(): Promise<void> {
  const wish = Object.fromEntries(draft);
  planned = (await change<Change>("PATCH", "config?dry_run=true", wish, config?.version.hash)).steps;
  showDraft();
  draftOf.querySelector<HTMLElement>("button.primary")?.focus();
}

async function apply(): Promise<void> {
  const wish = Object.fromEntries(draft);
  const made = await ended(await change<Change>("PATCH", "config", wish, config?.version.hash));
  discard();
  notify(`Version ${made.version} runs.`, "good");
  await renderConfiguration();
}

function historyOf(versions: Version[]): HTMLElement {
  const row = (one: Version, at: number) => [
    String(one.version),
    date(one.time),
    one.author,
    one.cause,
    one.keys.join(", "),
    at === 0
      ? badge("good", "runs")
      : h(
          "button",
          {
            type: "button",
            "aria-label": `Roll back to version ${one.version}`,
            "data-takes": "admin",
            onclick: () => void tried(() => rollBack(one)),
          },
          "Roll back",
        ),
  ];
  return table("History", ["Version", "When", "By", "Why", "Keys", ""], versions.map(row));
}

async function rollBack({ version }: Version): Promise<void> {
  const now = config?.version;
  if (now === undefined) return;
  const steps = await get<Step[]>(`config/diff?from=${now.version}&to=${version}`);
  const form = await ask(
    `Roll back to version ${version}`,
    [differences(`From version ${now.version} to ${version}`, steps)],
    "Roll back",
  );
  if (form === null) return;
  const made = await ended(await change<Change>("POST", "config/rollback", { version }, now.hash));
  notify(`Version ${made.version} runs, which says what version ${version} said.`, "good");
  await renderConfiguration();
}

/** How a change ended that takes longer than its request. */
async function ended(made: Change): Promise<Change> {
  while (made.outcome === "trying" && made.ticket !== null) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    made = await get<Change>(`config/changes/${made.ticket}`);
  }
  return made;
}

async function tried(act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    planned = null;
    showDraft();
    notify(String((error as Error).message), "bad");
    await renderConfiguration().catch(() => undefined);
  }
}
