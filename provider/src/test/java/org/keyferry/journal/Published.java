package org.keyferry.journal;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a reader makes of an epoch's records. */
final class Published {
  private Published() {}

  /** The bodies of the events that it publishes as committed, in order. */
  static List<String> committed(List<JournalReader.Entry> entries) {
    List<String> bodies = new ArrayList<>();
    read(entries, bodies);
    return bodies;
  }

  /** The bodies of the events that are in doubt if the epoch ends here. */
  static List<String> inDoubt(List<JournalReader.Entry> entries) {
    return read(entries, new ArrayList<>());
  }

  private static List<String> read(List<JournalReader.Entry> entries, List<String> committed) {
    Map<Long, List<String>> open = new LinkedHashMap<>();
    for (JournalReader.Entry entry : entries) {
      switch (entry.kind()) {
        case PREPARE ->
            open.computeIfAbsent(entry.transaction(), id -> new ArrayList<>())
                .addAll(entry.events().stream().map(JournalReader.Event::body).toList());
        case COMMIT -> {
          List<String> bodies = open.remove(entry.transaction());
          if (bodies != null) {
            committed.addAll(bodies);
          }
        }
        case ABORT -> open.remove(entry.transaction());
        default -> {}
      }
    }
    return open.values().stream().flatMap(List::stream).toList();
  }
}
