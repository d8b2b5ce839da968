package org.keyferry.journal;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What a reader must make of a slot whose writer is gone and whose segments are undamaged, in the
 * form of the {@code expected.txt} of the test vectors.
 */
final class Expectation {
  private record Open(long written, List<JournalReader.Event> events) {}

  private final StringBuilder text = new StringBuilder();
  private final Map<Long, Open> open = new LinkedHashMap<>();
  private long commit;
  private boolean closed;

  private Expectation() {}

  static String of(List<JournalReader.Contents> segments) {
    Expectation expectation = new Expectation();
    for (int i = 0; i < segments.size(); i++) {
      boolean last =
          i + 1 == segments.size() || segments.get(i + 1).epoch() != segments.get(i).epoch();
      expectation.read(segments.get(i), last);
    }
    return expectation.text.toString();
  }

  private void read(JournalReader.Contents segment, boolean last) {
    boolean sealed = false;
    for (JournalReader.Entry entry : segment.entries()) {
      if (entry.kind() == null) {
        line("unknown record %s offset=%d kind=%d", name(segment), entry.offset(), entry.code());
      } else {
        read(segment, entry);
        sealed |= entry.kind() == RecordKind.SEAL;
      }
    }
    if (last) {
      endEpoch(segment);
    } else if (!sealed) {
      line("abandoned %s", name(segment));
    }
  }

  private void read(JournalReader.Contents segment, JournalReader.Entry entry) {
    switch (entry.kind()) {
      case PREPARE ->
          open.computeIfAbsent(entry.transaction(), id -> new Open(entry.time(), new ArrayList<>()))
              .events()
              .addAll(entry.events());
      case COMMIT -> {
        commit = entry.commit();
        List<JournalReader.Event> events = open.remove(entry.transaction()).events();
        transaction(segment, entry.transaction(), "committed", entry.time(), events);
      }
      case ABORT -> open.remove(entry.transaction());
      case CLOSE -> closed = true;
      case SEAL -> {}
      case GAP ->
          line(
              "gap segment=%s offset=%d written=%d user-events=%d admin-events=%d first=%d last=%d"
                  + " cause=%d",
              name(segment),
              entry.offset(),
              entry.time(),
              entry.gap().userEvents(),
              entry.gap().adminEvents(),
              entry.gap().first(),
              entry.gap().last(),
              entry.gap().cause());
    }
  }

  private void endEpoch(JournalReader.Contents segment) {
    open.forEach(
        (id, doubtful) -> {
          commit++;
          transaction(segment, id, "unknown", doubtful.written(), doubtful.events());
        });
    line("epoch ended epoch=%016x commit=%d closed=%b", segment.epoch(), commit, closed);
    open.clear();
    commit = 0;
    closed = false;
  }

  private void transaction(
      JournalReader.Contents segment,
      long id,
      String outcome,
      long written,
      List<JournalReader.Event> events) {
    line(
        "transaction epoch=%016x commit=%d id=%d outcome=%s written=%d node=\"%s\"",
        segment.epoch(), commit, id, outcome, written, segment.node());
    for (JournalReader.Event event : events) {
      text.append("  ").append(event.kind().name().toLowerCase(Locale.ROOT));
      text.append(" time=").append(event.time());
      event
          .fields()
          .forEach(
              (field, value) -> {
                String name = field.name().toLowerCase(Locale.ROOT).replace('_', '-');
                text.append(' ').append(name).append("=\"").append(value).append('"');
              });
      text.append("\n    ").append(event.body()).append('\n');
    }
  }

  private static String name(JournalReader.Contents segment) {
    return Format.segmentName(segment.epoch(), segment.number());
  }

  private void line(String format, Object... arguments) {
    text.append(String.format(format, arguments)).append('\n');
  }
}
