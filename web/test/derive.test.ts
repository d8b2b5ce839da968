import assert from "node:assert/strict";
import test from "node:test";

import * as derive from "../src/derive.ts";
import type { Link } from "../src/derive.ts";
import type { Delivery, Snapshot } from "../src/model.ts";

const NOW = 1_000_000;
const LIVE: Link = { state: "live", at: NOW };

function slot(change: Partial<Delivery> = {}): Delivery {
  return {
    slot: "slot-0",
    state: "idle",
    reason: null,
    counts: { published: 0, dead_letters: 0, held: 0 },
    last_delivery: null,
    backlog: {
      level: "normal",
      reason: null,
      bytes: 10,
      oldest_ms: null,
      growth_bytes_per_s: 0,
      time_to_full_s: null,
      used_percent: null,
    },
    breaker: { mode: "auto", state: "closed", reason: null, since: 0, next_attempt: null, opened_total: 0 },
    ...change,
  };
}

function snapshot(slots: Delivery[], change: Partial<Snapshot["status"]> = {}, firing = 0): Snapshot {
  return {
    status: {
      agent: "0",
      started: 0,
      ready: true,
      reason: null,
      destinations: [{ name: "default", state: "idle", slots }],
      ...change,
    },
    figures: {
      time: NOW,
      latency_ms: null,
      received: 100,
      published: 90,
      events: [],
      logins: 0,
      login_failures: 0,
      login_errors: [],
    },
    marks: { config: null, config_version: null, trying: false, probation: false, file_in_use: true, incidents: 0, happenings: 0, last_happening: null, firing },
    pools: [],
    tuners: [],
  };
}

test("the verdict is the worst of what is known", () => {
  const tone = (of: Snapshot | null, link: Link = LIVE) => derive.verdict(of, link, NOW).tone;
  assert.equal(tone(snapshot([slot()])), "good");
  assert.equal(tone(snapshot([slot()], {}, 1)), "warn");
  const pressed = slot({ backlog: { ...slot().backlog, level: "high", reason: "it grows" } });
  assert.equal(tone(snapshot([slot(), pressed])), "warn");
  const { marks, ...rest } = snapshot([slot()]);
  assert.equal(tone({ ...rest, marks: { ...marks, file_in_use: false } }), "warn");
  const blocked = derive.verdict(snapshot([slot()], { ready: false, reason: "nobody answers" }), LIVE, NOW);
  assert.deepEqual([blocked.tone, blocked.detail], ["bad", "Nothing is lost. Nobody answers."]);
  assert.equal(tone(snapshot([])), "unknown");
  assert.equal(tone(null, { state: "connecting" }), "unknown");
});

test("what is old or out of reach is never called good", () => {
  const good = snapshot([slot()]);
  const old: Link = { state: "live", at: NOW - derive.STALE_MS - 1 };
  assert.equal(derive.verdict(good, old, NOW).tone, "unknown");
  assert.equal(derive.isStale({ state: "live", at: NOW - derive.STALE_MS }, NOW), false);
  const gone: Link = { state: "disconnected", at: NOW, reason: "it is gone" };
  assert.equal(derive.verdict(good, gone, NOW).tone, "unknown");
});

test("rates are of what has come in between, and none where a count began anew", () => {
  const before = { ...snapshot([]).figures, time: NOW - 2_000, received: 50, published: 95 };
  const reading = derive.reading(before, snapshot([slot(), slot()]));
  assert.deepEqual([reading.received, reading.published, reading.backlog], [25, null, 20]);
  assert.equal(derive.reading(null, snapshot([slot()])).received, null);
  assert.equal(derive.rate(1, 2, 0), null);
});

test("figures are short and have their units", () => {
  assert.deepEqual([0, 1023, 1536, 200 * 1024, -2048].map(derive.bytes), ["0 B", "1023 B", "1.5 KiB", "200 KiB", "−2.0 KiB"]);
  assert.deepEqual([null, 0, 3.14159, 1234, 12_345, 2_500_000].map(derive.number), ["–", "0", "3.1", "1,234", "12.3 k", "2.5 M"]);
  assert.deepEqual([0, 59_400, 61_000, 3_600_000, 90_000_000].map(derive.duration), ["0 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h"]);
  assert.deepEqual([null, 1.23, 45.6, 1_500, 61_000].map(derive.milliseconds), ["–", "1.2 ms", "46 ms", "1.5 s", "1 min 1 s"]);
});

test("the soonest of what is known counts", () => {
  assert.equal(derive.soonest([null, 5, 3]), 3);
  assert.equal(derive.soonest([null]), null);
});

test("an empty input takes a value away", () => {
  assert.deepEqual(["", "  ", " 20ms "].map(derive.wished), [null, null, "20ms"]);
});
