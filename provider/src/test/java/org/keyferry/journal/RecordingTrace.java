package org.keyferry.journal;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a writer did to its disk and told its clients, one JSON object a line, in order. {@code
 * crates/keyferry-crashstates} reads it and says what each entry means.
 */
final class RecordingTrace implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final BufferedWriter file;

  RecordingTrace(Path file) throws IOException {
    this.file = Files.newBufferedWriter(file);
  }

  /** Begins the trace. */
  void workload(long seed, String fsync, boolean syncOutcomes) {
    write(Map.of("entry", "workload", "seed", seed, "fsync", fsync, "syncOutcomes", syncOutcomes));
  }

  /** An operation on a file or directory, or the end of a process. */
  void operation(String entry, Map<String, ?> details) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("entry", entry);
    line.putAll(details);
    write(line);
  }

  /** What a client does or is told. */
  void client(String entry, String transaction) {
    operation(entry, Map.of("transaction", transaction));
  }

  /** A client hands over events. */
  void offer(String transaction, List<String> events) {
    Map<String, Object> details = new LinkedHashMap<>();
    details.put("transaction", transaction);
    details.put("events", events);
    operation("offer", details);
  }

  private void write(Map<String, ?> line) {
    try {
      file.write(JSON.writeValueAsString(line));
      file.newLine();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
