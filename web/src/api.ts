// The way to the agent: questions, changes, and the stream.

import type { Session, Snapshot } from "./model.ts";
import { EventParser } from "./sse.ts";

const TOKEN = "keyferry-token";
/** The first pause before the stream is opened again, doubled up to the second; in milliseconds. */
const PAUSE = [500, 8_000] as const;
/** A stream that says nothing for so long is dead: the agent speaks once a second. */
const SILENCE_MS = 15_000;

/** What the agent says when something is wrong (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

/** Who asks, as the agent knows him by the token or the login. */
export async function session(): Promise<Session> {
  // Not by `send`: who is asked for a token because this is refused would wait for himself.
  const response = await fetch("/api/v1/session", { headers: authorization() });
  if (response.status === 401 && hasToken()) {
    forgetToken();
    return session();
  }
  if (!response.ok) throw new Problem(response.status, `The agent answers with status ${response.status}.`);
  return response.json() as Promise<Session>;
}

function authorization(): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/** Ends the login, here and at Keycloak. */
export async function logOut(path: string): Promise<void> {
  await send(path, { method: "POST", headers: { "Content-Type": "application/json" } });
}

/** Forgets the token. */
export function forgetToken(): void {
  sessionStorage.removeItem(TOKEN);
}

/** Whether this tab keeps a token. */
export function hasToken(): boolean {
  return sessionStorage.getItem(TOKEN) !== null;
}

/** Asks the user for the token; told to once, however many requests lack it. */
let askForToken: () => Promise<string | null> = async () => null;
let asking: Promise<boolean> | null = null;

export function onTokenNeeded(ask: () => Promise<string | null>): void {
  askForToken = ask;
}

function obtainToken(): Promise<boolean> {
  asking ??= askForToken()
    .then((token) => {
      if (token !== null) sessionStorage.setItem(TOKEN, token);
      return token !== null;
    })
    .finally(() => (asking = null));
  return asking;
}

async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { ...(init.headers as Record<string, string> | undefined), ...authorization() };
  const response = await fetch(path, { ...init, headers });
  if (response.status === 401 && (await obtainToken())) return send(path, init);
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
  throw new Problem(response.status, problem?.detail ?? `The agent answers with status ${response.status}.`);
}

export async function get<T>(path: string): Promise<T> {
  return (await send(`/api/v1/${path}`)).json() as Promise<T>;
}

/** Has something changed; `expected` is the hash of the configuration that the change was thought out for. */
export async function change<T>(method: string, path: string, body?: unknown, expected?: string): Promise<T> {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (expected !== undefined) headers["If-Match"] = `"${expected}"`;
  const text = body === undefined ? {} : { body: JSON.stringify(body) };
  return (await send(`/api/v1/${path}`, { method, headers, ...text })).json() as Promise<T>;
}

/** Listens for ever. */
export async function listen(tell: (snapshot: Snapshot) => void, lose: (reason: string) => void): Promise<never> {
  let pause: number = PAUSE[0];
  for (;;) {
    const reason = await hear((snapshot) => {
      pause = PAUSE[0];
      tell(snapshot);
    }).catch((error: unknown) => (error instanceof Problem ? error.message : "It cannot be reached."));
    lose(`${reason} The page tries again by itself.`);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, PAUSE[1]);
  }
}

/** Listens until the stream ends, and says why it did. */
async function hear(tell: (snapshot: Snapshot) => void): Promise<string> {
  const abort = new AbortController();
  const response = await send("/api/v1/stream", { signal: abort.signal });
  if (response.body === null) return "It answers without a stream.";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  for (;;) {
    const silence = setTimeout(() => abort.abort(), SILENCE_MS);
    const piece = await reader.read().finally(() => clearTimeout(silence));
    if (piece.done) return "It has ended the stream.";
    for (const event of parser.push(piece.value)) {
      if (event.name === "snapshot") tell(JSON.parse(event.data) as Snapshot);
    }
  }
}
