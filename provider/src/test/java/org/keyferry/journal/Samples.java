package org.keyferry.journal;

import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.Map;

/** Events and settings for tests. */
final class Samples {
  static final Instant NOW = Instant.parse("2026-01-02T03:04:05.678901Z");
  static final Clock CLOCK = Clock.fixed(NOW, ZoneOffset.UTC);

  /** A transaction waits until its PREPARE is durable. */
  static final Durability COMMIT =
      new Durability(Durability.Fsync.COMMIT, Duration.ofHours(1), false);

  /** A transaction waits until its outcome is durable, too. */
  static final Durability OUTCOME =
      new Durability(Durability.Fsync.COMMIT, Duration.ofHours(1), true);

  private Samples() {}

  static Journal.Settings settings(long segmentSize) {
    return settings(segmentSize, Durability.NONE);
  }

  static Journal.Settings settings(long segmentSize, Durability durability) {
    return settings("node-a", segmentSize, durability);
  }

  static Journal.Settings settings(String node, long segmentSize) {
    return settings(node, segmentSize, Durability.NONE);
  }

  private static Journal.Settings settings(String node, long segmentSize, Durability durability) {
    return new Journal.Settings(
        node, segmentSize, durability, Ceiling.Limits.NONE, OutcomeStore.NONE, CLOCK);
  }

  /** Adds an event with those fields. */
  static void add(
      EventBuffer buffer, EventKind kind, long time, Map<Field, String> fields, String body) {
    buffer.begin(kind, time);
    for (Field field : Field.values()) {
      buffer.field(field, fields.get(field));
    }
    buffer.body(body.getBytes(StandardCharsets.UTF_8));
    buffer.end();
  }

  /** A buffer with one user event of that body. */
  static EventBuffer event(String body) {
    EventBuffer buffer = EventBuffer.take();
    add(buffer, EventKind.USER, NOW.toEpochMilli(), Map.of(Field.TYPE, "LOGIN"), body);
    return buffer;
  }

  /** A buffer with one admin event of that body. */
  static EventBuffer adminEvent(String body) {
    EventBuffer buffer = EventBuffer.take();
    add(buffer, EventKind.ADMIN, NOW.toEpochMilli() + 1, Map.of(Field.TYPE, "CREATE"), body);
    return buffer;
  }
}
