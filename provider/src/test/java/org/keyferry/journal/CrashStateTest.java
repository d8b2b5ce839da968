package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Records workloads for {@code cargo xtask crash-states}, which reads what every crash could have
 * left of them: {@code -Dkeyferry.traces} names the directory for the traces, {@code
 * -Dkeyferry.workloads} how many, {@code -Dkeyferry.seed} the first one's seed. What is tested here
 * is that a trace tells the truth: its operations give the files that the journal really wrote.
 */
class CrashStateTest {
  private static final int WORKLOADS = Integer.getInteger("keyferry.workloads", 4);
  private static final long SEED = Long.getLong("keyferry.seed", 1);

  /** The journal says of every injected fault what an administrator should know. */
  private static final Logger LOG = Logger.getLogger("org.keyferry.journal");

  @TempDir Path scratch;

  @BeforeAll
  static void quiet() {
    LOG.setLevel(Level.OFF);
  }

  @AfterAll
  static void loud() {
    LOG.setLevel(null);
  }

  @Test
  void aTraceGivesTheFilesThatWereWritten() throws Exception {
    String directory = System.getProperty("keyferry.traces");
    Path traces =
        Files.createDirectories(directory == null ? scratch.resolve("traces") : Path.of(directory));
    for (long seed = SEED; seed < SEED + WORKLOADS; seed++) {
      Path trace = traces.resolve(String.format("workload-%08d.jsonl", seed));
      Path root = Files.createDirectory(scratch.resolve("root-" + seed));
      CrashStateWorkload.record(seed, root, trace);
      Map<String, byte[]> written = CrashStateWorkload.segments(root);
      assertFalse(written.isEmpty() && seed == SEED, "no segments");
      Map<String, byte[]> replayed = replay(trace);
      assertEquals(written.keySet(), replayed.keySet(), "seed " + seed);
      written.forEach((name, bytes) -> assertArrayEquals(bytes, replayed.get(name), name));
    }
  }

  private static Map<String, byte[]> replay(Path trace) throws IOException {
    ObjectMapper json = new ObjectMapper();
    Map<String, byte[]> files = new TreeMap<>();
    for (String line : Files.readAllLines(trace)) {
      JsonNode entry = json.readTree(line);
      String path = entry.path("path").asText();
      switch (entry.get("entry").asText()) {
        case "create" -> files.put(path, new byte[0]);
        case "write" -> files.merge(path, bytes(entry), CrashStateTest::joined);
        case "truncate" ->
            files.computeIfPresent(
                path, (name, bytes) -> Arrays.copyOf(bytes, entry.get("length").asInt()));
        case "delete" -> files.remove(path);
        default -> {}
      }
    }
    files.keySet().removeIf(name -> !name.endsWith(".kfj"));
    return files;
  }

  private static byte[] bytes(JsonNode write) {
    return HexFormat.of().parseHex(write.get("bytes").asText());
  }

  private static byte[] joined(byte[] first, byte[] second) {
    byte[] both = Arrays.copyOf(first, first.length + second.length);
    System.arraycopy(second, 0, both, first.length, second.length);
    return both;
  }
}
