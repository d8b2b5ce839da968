package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.keyferry.journal.OutcomeStore.Verdict;

/** What the next start makes of transactions without outcome. */
class SettlementTest {
  private static final Path DIRECTORY = Path.of("/data/journal");

  private final FakeDisk disk = new FakeDisk();
  private final List<String> asked = new ArrayList<>();

  /** Opens the journal; the store's answer stands in the event's id. */
  private Journal open(Durability durability, long segmentSize) throws IOException {
    OutcomeStore store =
        events -> {
          asked.add(events.get(0).id());
          return Verdict.valueOf(events.get(0).id());
        };
    Journal.Settings settings =
        new Journal.Settings(
            "node-a", segmentSize, durability, Ceiling.Limits.NONE, store, Samples.CLOCK);
    return Journal.open(disk, DIRECTORY, settings, new Losses());
  }

  private Journal open() throws IOException {
    return open(Durability.NONE, 1 << 20);
  }

  private static EventBuffer event(String answer, String body) {
    EventBuffer buffer = EventBuffer.take();
    Map<Field, String> fields =
        Map.of(Field.ID, answer, Field.TYPE, "LOGIN", Field.REALM_ID, "r1", Field.CLIENT, "c");
    Samples.add(buffer, EventKind.USER, 7, fields, body);
    return buffer;
  }

  private static JournalTransaction prepared(Journal journal, String answer, String body)
      throws JournalException {
    JournalTransaction transaction = new JournalTransaction();
    journal.prepare(transaction, event(answer, body));
    return transaction;
  }

  private List<String> kinds(int segment) {
    return disk.segments().get(segment).entries().stream()
        .map(entry -> entry.kind() + "/" + entry.transaction())
        .toList();
  }

  private void append(int segment, byte[] bytes) {
    file(segment).writeBytes(bytes);
  }

  private ByteArrayOutputStream file(int segment) {
    return disk.files().values().stream().toList().get(segment);
  }

  @Test
  void theLastEpochGetsTheOutcomesThatTheStoreKnows() throws IOException {
    Journal crashed = open();
    prepared(crashed, "COMMITTED", "a");
    crashed.commit(prepared(crashed, "ABORTED", "b"));
    prepared(crashed, "UNKNOWN", "c");
    prepared(crashed, "ABORTED", "d");
    prepared(crashed, "no verdict, an exception", "e");
    prepared(crashed, "COMMITTED", "f");
    open();
    assertEquals(
        List.of(
            "PREPARE/1",
            "PREPARE/2",
            "COMMIT/2",
            "PREPARE/3",
            "PREPARE/4",
            "PREPARE/5",
            "PREPARE/6",
            "COMMIT/1",
            "ABORT/4",
            "COMMIT/6"),
        kinds(0));
    JournalReader.Contents segment = disk.segments().get(0);
    assertTrue(segment.isWhole());
    assertEquals(
        List.of(1L, Format.COMMIT_STRIDE, Format.COMMIT_STRIDE + 1),
        segment.entries().stream()
            .filter(entry -> entry.kind() == RecordKind.COMMIT)
            .map(JournalReader.Entry::commit)
            .toList());
    assertEquals(List.of("b", "a", "f"), Published.committed(segment.entries()));
    assertEquals(List.of("c", "e"), Published.inDoubt(segment.entries()));
  }

  @Test
  void whatOneStartHasSettledTheNextGoesOnFrom() throws IOException {
    Journal crashed = open();
    prepared(crashed, "COMMITTED", "a");
    prepared(crashed, "COMMITTED", "b");
    open();
    // The start died before the second outcome was written, and before its own epoch began.
    JournalReader.Entry second = disk.segments().get(0).entries().get(3);
    byte[] bytes = Arrays.copyOf(file(0).toByteArray(), second.offset());
    replace(0, bytes);
    String first = disk.files().keySet().iterator().next();
    disk.files().keySet().removeIf(name -> !name.equals(first));
    open();
    List<JournalReader.Entry> entries = disk.segments().get(0).entries();
    assertEquals(List.of("a", "b"), Published.committed(entries));
    assertEquals(2 * Format.COMMIT_STRIDE, entries.get(3).commit());
  }

  @Test
  void theStoreIsAskedByWhatIdentifiesTheEvents() throws IOException {
    prepared(open(), "COMMITTED", "a");
    List<EventReference> seen = new ArrayList<>();
    Journal.Settings settings =
        new Journal.Settings(
            "node-a",
            1 << 20,
            Durability.NONE,
            Ceiling.Limits.NONE,
            events -> {
              seen.addAll(events);
              return Verdict.UNKNOWN;
            },
            Samples.CLOCK);
    Journal.open(disk, DIRECTORY, settings, new Losses());
    assertEquals(List.of(new EventReference(EventKind.USER, 7, "COMMITTED", "LOGIN", "r1")), seen);
  }

  private void replace(int segment, byte[] bytes) {
    file(segment).reset();
    append(segment, bytes);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 31, 40})
  void aTornTailIsCutOffFirst(int torn) throws IOException {
    Journal crashed = open();
    prepared(crashed, "COMMITTED", "a");
    prepared(crashed, "COMMITTED", "b");
    int second = disk.entries().get(1).offset();
    replace(0, Arrays.copyOf(file(0).toByteArray(), second + torn));
    open();
    assertEquals(List.of("PREPARE/1", "COMMIT/1"), kinds(0));
    assertTrue(disk.segments().get(0).isWhole());
  }

  /**
   * Marker, checksum, length, kind, transaction, payload: whatever bit is wrong, it was a record.
   */
  @ParameterizedTest
  @ValueSource(ints = {0, 7, 8, 9, 10, 11, 12, 20, 40})
  void aLastRecordThatIsDamagedIsNotCutOff(int place) throws IOException {
    Journal crashed = open();
    prepared(crashed, "COMMITTED", "a");
    prepared(crashed, "COMMITTED", "b");
    int second = disk.entries().get(1).offset();
    byte[] whole = file(0).toByteArray();
    for (int bit = 0; bit < 8; bit++) {
      byte[] damaged = whole.clone();
      damaged[second + place] ^= (byte) (1 << bit);
      replace(0, damaged);
      open();
      assertEquals(List.of(), asked, "an outcome may be there");
      assertArrayEquals(damaged, file(0).toByteArray(), "bit " + bit);
      String first = disk.files().keySet().iterator().next();
      disk.files().keySet().removeIf(name -> !name.equals(first));
    }
  }

  @Test
  void behindASealTheOutcomesGetASegmentOfTheirOwn() throws IOException {
    Journal crashed = open(Durability.NONE, 4096);
    prepared(crashed, "COMMITTED", "\"" + "x".repeat(3900) + "\"");
    disk.failCreate(true);
    try {
      prepared(crashed, "ABORTED", "\"" + "x".repeat(3900) + "\"");
      throw new AssertionError("the next segment cannot be begun");
    } catch (JournalException e) {
      disk.heal();
    }
    open();
    assertEquals(List.of("PREPARE/1", "SEAL/0"), kinds(0));
    assertEquals(List.of("COMMIT/1"), kinds(1));
    JournalReader.Contents added = disk.segments().get(1);
    assertEquals(disk.segments().get(0).epoch(), added.epoch());
    assertEquals(1, added.number());
    assertEquals(1, added.firstCommit());
  }

  @Test
  void transactionsOfSeveralSegmentsAreSettledInOrder() throws IOException {
    Journal crashed = open(Durability.NONE, 4096);
    for (int i = 0; i < 40; i++) {
      JournalTransaction transaction =
          prepared(crashed, i % 2 == 0 ? "COMMITTED" : "ABORTED", "x".repeat(300) + i);
      if (i % 10 != 0) {
        crashed.commit(transaction);
      }
    }
    open();
    List<JournalReader.Entry> entries = disk.entries();
    assertEquals(40, Published.committed(entries).size());
    assertEquals(List.of(), Published.inDoubt(entries));
    assertEquals(4, asked.size());
  }

  @Test
  void whereRecordsAreMissingNothingIsSettled() throws IOException {
    Journal crashed = open();
    prepared(crashed, "ABORTED", "a");
    JournalTransaction committed = prepared(crashed, "ABORTED", "b");
    crashed.commit(committed);
    prepared(crashed, "ABORTED", "c");
    // The COMMIT of b cannot be read.
    JournalReader.Entry commit = disk.entries().get(2);
    byte[] bytes = file(0).toByteArray();
    bytes[commit.offset() + 20] ^= 1;
    replace(0, bytes);
    open();
    assertEquals(List.of(), asked, "b may have an outcome");
    assertEquals(bytes.length, file(0).size(), "the damaged segment is left as it is");
  }

  @Test
  void whereASegmentIsMissingNothingIsSettled() throws IOException {
    Journal crashed = open(Durability.NONE, 4096);
    for (int i = 0; disk.files().size() < 3; i++) {
      prepared(crashed, "ABORTED", "x".repeat(300) + i);
    }
    disk.files().remove(disk.files().keySet().stream().toList().get(1));
    open();
    assertEquals(List.of(), asked);
  }

  @Test
  void whereAnAbandonedSegmentHasLostItsEndNothingIsSettled() throws IOException {
    Journal crashed = open(Durability.NONE, 4096);
    crashed.commit(prepared(crashed, "ABORTED", "x".repeat(3800)));
    prepared(crashed, "ABORTED", "y".repeat(300));
    int commit = disk.segments().get(0).entries().get(1).offset();
    byte[] bytes = file(0).toByteArray();
    replace(0, Arrays.copyOf(bytes, commit));
    open();
    assertEquals(List.of(), asked, "the segment looks whole, and a COMMIT is gone");
  }

  @Test
  void whatHasEndedInOrderIsNotReadForOutcomes() throws IOException {
    Journal closed = open();
    prepared(closed, "COMMITTED", "a");
    append(0, new byte[0]);
    Journal next = open();
    assertEquals(1, asked.size());
    next.close(0);
    open();
    assertEquals(1, asked.size(), "an epoch before the last is settled or passed");
  }

  @Test
  void outcomesAreDurableBeforeTheNextEpochBegins() throws IOException {
    prepared(open(Samples.COMMIT, 1 << 20), "COMMITTED", "a");
    open(Samples.COMMIT, 1 << 20);
    List<String> names = disk.files().keySet().stream().toList();
    List<String> operations = disk.operations();
    assertTrue(
        operations.lastIndexOf("sync " + names.get(0))
            < operations.indexOf("create " + names.get(1)));
    assertEquals(List.of("a"), Published.committed(disk.durableEntries()));
  }
}
