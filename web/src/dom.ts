// A page without a framework: elements are made once and filled again only when what they show has changed, so that focus and open details stay.

type Child = Node | string | null;
type Properties = Record<string, unknown>;

/** An element with properties (`class`, `onclick`, attributes) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (value !== null && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element ${id}`);
  return element;
}

const shown = new WeakMap<Element, string>();

function isShown(element: Element, content: unknown): boolean {
  const key = JSON.stringify(content);
  const isSame = shown.get(element) === key;
  shown.set(element, key);
  return isSame;
}

/** Fills `element` anew if `content` is another than the last time. What had the focus has it again, if there is something of its name. */
export function fill(element: Element, content: unknown, make: () => Child[]): void {
  if (isShown(element, content)) return;
  const focused = element.contains(document.activeElement) ? document.activeElement?.getAttribute("aria-label") : null;
  element.replaceChildren(...make().filter((child) => child !== null));
  if (focused) element.querySelector<HTMLElement>(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
}

/** As `fill`, for what changes each second and has nothing to press: only what differs is touched, so that focus, selection and scrolling stay. */
export function refresh(element: Element, content: unknown, make: () => Child[]): void {
  if (isShown(element, content)) return;
  const wanted = document.createElement("div");
  wanted.append(...make().filter((child) => child !== null));
  reconcile(element, wanted);
}

function reconcile(now: Element, wanted: Element): void {
  const [old, fresh] = [[...now.childNodes], [...wanted.childNodes]];
  fresh.forEach((node, at) => {
    const before = old[at];
    if (before === undefined) {
      now.append(node);
    } else if (before instanceof HTMLElement && node instanceof HTMLElement && before.tagName === node.tagName) {
      for (const { name, value } of node.attributes) {
        // A style that is set as an attribute is refused by the page's own policy.
        if (name !== "style") before.setAttribute(name, value);
      }
      before.style.cssText = node.style.cssText;
      reconcile(before, node);
    } else if (before instanceof Text && node instanceof Text) {
      if (before.data !== node.data) before.data = node.data;
    } else {
      before.replaceWith(node);
    }
  });
  for (const node of old.slice(fresh.length)) node.remove();
}

/** Sets a text only if it is another, so that a screen reader is not told the same again. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A table that a narrow screen scrolls by itself, by keyboard as well. */
export function table(caption: string, heads: string[], rows: Child[][]): HTMLElement {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, cell))))),
    ),
  );
}

export function badge(tone: string, text: string): HTMLElement {
  return h("span", { class: `badge ${tone}` }, text);
}

export function empty(text: string): HTMLElement {
  return h("p", { class: "empty" }, text);
}

/** Says something that has just happened. */
export function notify(text: string, tone: "good" | "bad"): void {
  const notice = h("p", { class: `notice ${tone}` }, text);
  notice.append(h("button", { type: "button", "aria-label": "Dismiss", onclick: () => notice.remove() }, "×"));
  byId("notices").append(notice);
  if (tone === "good") setTimeout(() => notice.remove(), 6_000);
}

/** A dialog with a form; what it is closed with, or nothing if it was cancelled. */
export function ask(title: string, content: Node[], action: string): Promise<FormData | null> {
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog" }, h("h2", {}, title), ...content);
    form.append(
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { class: "primary", value: "yes" }, action),
      ),
    );
    const dialog = h("dialog", { "aria-label": title }, form);
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
