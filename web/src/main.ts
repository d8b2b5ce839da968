// The page: one stream of what the agent does, and what is read again only when it has changed.

import "./page.css";

import { listen } from "./api.ts";
import { beginConfiguration, renderConfiguration } from "./configuration.ts";
import type { Link } from "./derive.ts";
import { date } from "./derive.ts";
import { beginDestinations, renderDestinations } from "./destinations.ts";
import { byId, h, say } from "./dom.ts";
import { beginIncidents, renderIncidents } from "./incidents.ts";
import type { Marks, Snapshot } from "./model.ts";
import { Overview } from "./overview.ts";
import { beginSession, renderSession } from "./session.ts";
import { beginTheme } from "./theme.ts";

let link: Link = { state: "connecting" };
let last: Snapshot | null = null;
let seen: Marks | null = null;

const overview = new Overview();
beginDestinations();
beginIncidents();
beginConfiguration();
beginTheme(() => overview.redraw());
beginSession();

const judge = () => overview.judge(last, link, Date.now());
judge();
setInterval(judge, 1_000);

void listen(
  (snapshot) => {
    if (link.state !== "live") void renderSession();
    link = { state: "live", at: Date.now() };
    last = snapshot;
    judge();
    overview.render(snapshot);
    renderDestinations(snapshot);
    say(byId("about"), `Keyferry ${snapshot.status.agent}, running since ${date(snapshot.status.started)}`);
    readAgain(snapshot.marks);
  },
  (reason) => {
    link = { state: "disconnected", at: link.state === "connecting" ? null : link.at, reason };
    judge();
  },
);

function readAgain(marks: Marks): void {
  const before = seen;
  seen = marks;
  const differs = (keys: (keyof Marks)[]) => keys.some((key) => before?.[key] !== marks[key]);
  if (before === null || differs(["incidents", "happenings", "last_happening"])) void again("incidents", renderIncidents);
  const ofConfig: (keyof Marks)[] = ["config", "config_version", "trying", "probation", "file_in_use"];
  if (before === null || differs(ofConfig)) void again("configuration", renderConfiguration);
}

/** Reads a section again; what is wrong is said in it, and tried again with the next snapshot. */
async function again(id: string, render: () => Promise<void>): Promise<void> {
  const problem = byId(id).querySelector("p.problem") ?? h("p", { class: "problem", role: "status" });
  if (!problem.isConnected) byId(id).append(problem);
  try {
    await render();
    say(problem, "");
  } catch (error) {
    seen = null;
    say(problem, (error as Error).message);
  }
}
