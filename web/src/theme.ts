// Light and dark: what the system prefers, unless the user has said otherwise.

import { byId, say } from "./dom.ts";

const KEY = "keyferry-theme";
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function isDark(): boolean {
  const chosen = document.documentElement.dataset.theme;
  return chosen === undefined ? prefersDark.matches : chosen === "dark";
}

/** A colour of the page as it is now, for what is drawn on a canvas. */
export function colour(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

export function beginTheme(changed: () => void): void {
  const chosen = localStorage.getItem(KEY);
  if (chosen !== null) document.documentElement.dataset.theme = chosen;
  const button = byId("theme");
  const show = () => {
    say(button, isDark() ? "Light" : "Dark");
    button.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
    changed();
  };
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem(KEY, next);
    show();
  });
  prefersDark.addEventListener("change", show);
  show();
}
