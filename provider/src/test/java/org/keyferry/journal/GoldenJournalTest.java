package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * The binary test vectors that hold both sides to the same format; {@code
 * testdata/journal/README.md} explains them. With {@code -Dkeyferry.golden=write} those of this
 * writer are written instead of compared.
 */
class GoldenJournalTest {
  private static final Path DIRECTORY =
      Path.of(System.getProperty("keyferry.repository"), "testdata", "journal");

  private static final boolean WRITE = "write".equals(System.getProperty("keyferry.golden"));

  private static final String EXPECTED = "expected.txt";
  private static final Pattern DAMAGED =
      Pattern.compile("^(damage|torn tail|missing|lost|error)", Pattern.MULTILINE);

  private static final String SURROGATES = "naïve 東京 😀 \u2028";

  @Test
  void everyKindAndField() throws IOException {
    FakeDisk disk = new FakeDisk();
    Losses losses = new Losses();
    Journal journal = open(disk, losses, "node-ä-東", 1 << 20);

    EventBuffer both = EventBuffer.take();
    Samples.add(both, EventKind.USER, 1_767_323_045_001L, userFields(), json("user " + SURROGATES));
    Samples.add(both, EventKind.ADMIN, 1_767_323_045_002L, adminFields(), json("admin"));
    JournalTransaction first = new JournalTransaction();
    journal.prepare(first, both);

    JournalTransaction second = new JournalTransaction();
    journal.prepare(second, Samples.event(json("aborted")));

    Samples.add(both, EventKind.USER, 1_767_323_045_003L, Map.of(Field.ID, "late"), json("late"));
    journal.prepare(first, both);
    journal.commit(first);
    journal.abort(second);

    losses.add(new Losses.Report(3, 2, 1_767_323_045_004L, 1_767_323_045_009L, GapCause.NO_SPACE));
    journal.prepareAndCommit(new JournalTransaction(), Samples.event(json("after a gap")));
    losses.add(new Losses.Report(0, 1, 5, 5, GapCause.TOO_LARGE));
    journal.settle();
    JournalTransaction doubtful = new JournalTransaction();
    journal.prepare(doubtful, Samples.event(json("in doubt")));
    check("java-kinds", disk);
  }

  @Test
  void segmentsThatFollowEachOther() throws IOException {
    FakeDisk disk = new FakeDisk();
    Journal journal = open(disk, new Losses(), "", 4096);
    for (int i = 0; i < 24; i++) {
      journal.prepareAndCommit(
          new JournalTransaction(), Samples.event(json("rollover " + i + " " + "x".repeat(i * 9))));
    }
    assertTrue(journal.close(0));
    check("java-rollover", disk);
  }

  @Test
  void anAbandonedSegment() throws IOException {
    FakeDisk disk = new FakeDisk();
    Journal journal = open(disk, new Losses(), "node-a", 1 << 20);
    JournalTransaction transaction = new JournalTransaction();
    journal.prepare(transaction, Samples.event(json("before")));
    disk.failWrites(1, 1, 0).failTruncate(true);
    EventBuffer events = Samples.event(json("written again"));
    JournalTransaction torn = new JournalTransaction();
    try {
      journal.prepare(torn, events);
    } catch (JournalException e) {
      disk.heal();
    }
    journal.prepareAndCommit(torn, events);
    journal.commit(transaction);
    assertTrue(journal.close(0));
    check("java-abandoned", disk);
  }

  @Test
  void theVectorsOfTheAgentAreReadAlike() throws IOException {
    int read = 0;
    for (Path vector : directories("rust-")) {
      String expected = Files.readString(vector.resolve(EXPECTED));
      if (DAMAGED.matcher(expected).find()) {
        continue;
      }
      List<JournalReader.Contents> segments = new ArrayList<>();
      for (Path file : segmentsOf(vector)) {
        segments.add(JournalReader.read(Files.readAllBytes(file)));
      }
      assertEquals(expected, Expectation.of(segments), vector.toString());
      read++;
    }
    assertTrue(read > 0 || directories("rust-").isEmpty(), "no undamaged vector of the agent's");
  }

  private static List<Path> directories(String prefix) throws IOException {
    if (!Files.isDirectory(DIRECTORY)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(DIRECTORY)) {
      return files
          .filter(Files::isDirectory)
          .filter(file -> file.getFileName().toString().startsWith(prefix))
          .sorted()
          .toList();
    }
  }

  private static List<Path> segmentsOf(Path vector) throws IOException {
    try (Stream<Path> files = Files.list(vector)) {
      return files.filter(file -> file.toString().endsWith(".kfj")).sorted().toList();
    }
  }

  private static Journal open(FakeDisk disk, Losses losses, String node, long segmentSize)
      throws IOException {
    Journal.Settings settings = Samples.settings(node, segmentSize);
    return Journal.open(disk, Path.of("/journal"), settings, losses);
  }

  private static Map<Field, String> userFields() {
    Map<Field, String> fields = new EnumMap<>(Field.class);
    fields.put(Field.ID, "2f1a4a2c-5c0e-4a53-9b0e-0d5f6f0a0001");
    fields.put(Field.TYPE, "LOGIN_ERROR");
    fields.put(Field.REALM_ID, "7d0f0a9e-0000-4000-8000-000000000001");
    fields.put(Field.REALM_NAME, "größe-東京");
    fields.put(Field.CLIENT, "account-console");
    fields.put(Field.USER_ID, "5b8c0000-0000-4000-8000-00000000000a");
    fields.put(Field.ERROR, "invalid_user_credentials");
    fields.put(Field.TRACEPARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    return fields;
  }

  private static Map<Field, String> adminFields() {
    Map<Field, String> fields = new EnumMap<>(Field.class);
    for (Field field : Field.values()) {
      fields.put(field, "admin-" + field.name().toLowerCase(Locale.ROOT));
    }
    fields.put(Field.RESOURCE_PATH, "users/😀/role-mappings/realm");
    return fields;
  }

  private static String json(String text) {
    return "{\"details\":{\"text\":\"" + text + "\"},\"error\":null}";
  }

  private static void check(String name, FakeDisk disk) throws IOException {
    Path vector = DIRECTORY.resolve(name);
    Map<String, byte[]> files = new TreeMap<>();
    disk.files().forEach((file, bytes) -> files.put(file, bytes.toByteArray()));
    int segments = files.size();
    String expected = Expectation.of(disk.segments());
    files.put(EXPECTED, expected.getBytes(StandardCharsets.UTF_8));
    for (var file : files.entrySet()) {
      Path path = vector.resolve(file.getKey());
      if (WRITE) {
        Files.createDirectories(vector);
        Files.write(path, file.getValue());
      }
      assertArrayEquals(Files.readAllBytes(path), file.getValue(), file.getKey());
    }
    assertEquals(segments, segmentsOf(vector).size(), "no more segments than the test writes");
  }
}
