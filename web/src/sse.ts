// The form of server-sent events, piece by piece as it arrives. `EventSource` cannot send a token, and so the page reads the stream itself.

export interface ServerEvent {
  name: string;
  data: string;
}

/** Takes pieces of text and gives the events that they complete. */
export class EventParser {
  #rest = "";
  #name = "";
  #data: string[] = [];

  push(piece: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const lines = (this.#rest + piece).split(/\r\n|\n/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line !== "") {
        this.#take(line);
      } else if (this.#data.length > 0) {
        events.push({ name: this.#name || "message", data: this.#data.join("\n") });
        this.#name = "";
        this.#data = [];
      }
    }
    return events;
  }

  #take(line: string): void {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    if (field === "data") this.#data.push(value);
  }
}
