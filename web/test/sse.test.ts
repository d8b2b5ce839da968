import assert from "node:assert/strict";
import test from "node:test";

import { EventParser } from "../src/sse.ts";

const STREAM = 'event: snapshot\ndata: {"a":1}\n\n: a comment\ndata: one\r\ndata:two\r\n\r\nevent: nothing\n\n';
const EVENTS = [
  { name: "snapshot", data: '{"a":1}' },
  { name: "message", data: "one\ntwo" },
];

test("events are the same wherever the stream is cut", () => {
  assert.deepEqual(new EventParser().push(STREAM), EVENTS);
  const parser = new EventParser();
  assert.deepEqual([...STREAM].flatMap((piece) => parser.push(piece)), EVENTS);
});

test("what is not complete is kept back", () => {
  const parser = new EventParser();
  assert.deepEqual(parser.push("data: half"), []);
  assert.deepEqual(parser.push(" and half\n\n"), [{ name: "message", data: "half and half" }]);
});
