package org.keyferry.journal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** What is in a slot, for tests of other packages. */
public final class Journals {
  private Journals() {}

  /**
   * The records: kind and transaction, such as {@code PREPARE 1}, for a PREPARE followed by the
   * number of its events.
   */
  public static List<String> records(Path slot) throws IOException {
    return entries(slot).stream()
        .map(
            entry ->
                entry.kind()
                    + " "
                    + entry.transaction()
                    + (entry.events().isEmpty() ? "" : " of " + entry.events().size()))
        .toList();
  }

  /** The bodies of all events, whatever became of them. */
  public static List<String> bodies(Path slot) throws IOException {
    return events(slot).stream().map(JournalReader.Event::body).toList();
  }

  /** The value of a field in all events; {@code null} where an event has none. */
  public static List<String> field(Path slot, Field field) throws IOException {
    List<String> values = new ArrayList<>();
    events(slot).forEach(event -> values.add(event.fields().get(field)));
    return values;
  }

  private static List<JournalReader.Event> events(Path slot) throws IOException {
    return entries(slot).stream().flatMap(entry -> entry.events().stream()).toList();
  }

  private static List<JournalReader.Entry> entries(Path slot) throws IOException {
    try (Stream<Path> files = Files.list(slot)) {
      List<JournalReader.Entry> entries = new ArrayList<>();
      for (Path file : files.filter(path -> path.toString().endsWith(".kfj")).sorted().toList()) {
        entries.addAll(JournalReader.read(Files.readAllBytes(file)).entries());
      }
      return entries;
    }
  }
}
