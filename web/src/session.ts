// Who uses the page: what he may do is shown and can be pressed, and the agent is asked whatever the page thinks.

import { forgetToken, hasToken, logOut, onTokenNeeded, session } from "./api.ts";
import { ask, byId, h, notify } from "./dom.ts";
import type { Role, Session } from "./model.ts";

const RANKS: Role[] = ["viewer", "operator", "admin"];

/** Marks, for the style sheet, what the user may do: what he may not is not shown. */
function mark(role: Role | null): void {
  const may = role === null ? [] : RANKS.slice(0, RANKS.indexOf(role) + 1);
  document.documentElement.dataset.may = may.join(" ");
}

export function beginSession(): void {
  onTokenNeeded(async () => {
    const { login } = await session().catch(() => ({ login: null }));
    const input = h("input", { name: "token", type: "password", required: true, autocomplete: "current-password" });
    const way = login === null ? null : h("p", {}, h("a", { href: login, class: "button" }, "Log in with Keycloak"));
    const explained = h("p", {}, "This agent wants to know who asks. A token is kept until this tab is closed.");
    const content = [way, explained, h("label", {}, "Token ", input)].filter((one) => one !== null);
    const form = await ask(login === null ? "Token needed" : "Log in", content, "Go on");
    return form === null ? null : String(form.get("token"));
  });
  mark(null);
  void renderSession();
}

/** Shows who he is; told to whenever the stream begins, because that is when he may be another. */
export async function renderSession(): Promise<void> {
  const known = await session().catch(() => null);
  if (known === null) return;
  mark(known.role);
  const place = byId("session");
  place.replaceChildren();
  if (known.who === null || known.role === null) return;
  place.append(`${known.who} (${known.role}) `);
  if (known.logout !== null || hasToken()) {
    place.append(h("button", { type: "button", onclick: () => void leave(known) }, "Log out"));
  }
}

async function leave({ logout }: Session): Promise<void> {
  try {
    forgetToken();
    if (logout !== null) await logOut(logout);
    location.reload();
  } catch (error) {
    notify(String((error as Error).message), "bad");
  }
}
