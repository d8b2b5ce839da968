package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The writer over a disk that fails. */
class JournalTest {
  private static final Path DIRECTORY = Path.of("/journal");

  private final FakeDisk disk = new FakeDisk();
  private final Losses losses = new Losses();

  private Journal open(long segmentSize) throws IOException {
    return Journal.open(disk, DIRECTORY, Samples.settings(segmentSize), losses);
  }

  private static JournalTransaction prepared(Journal journal, String body) throws JournalException {
    JournalTransaction transaction = new JournalTransaction();
    journal.prepare(transaction, Samples.event(body));
    return transaction;
  }

  private List<String> kinds() {
    return disk.entries().stream().map(entry -> entry.kind() + "/" + entry.transaction()).toList();
  }

  private List<Long> commits() {
    return disk.entries().stream()
        .filter(entry -> entry.kind() == RecordKind.COMMIT)
        .map(JournalReader.Entry::commit)
        .toList();
  }

  private void loseOne(EventBuffer buffer) {
    losses.add(buffer.asLost(GapCause.NO_SPACE));
  }

  @Test
  void commitsAreNumberedInTheOrderInWhichTheyAreWritten() throws IOException {
    Journal journal = open(1 << 20);
    JournalTransaction first = prepared(journal, "{\"n\":1}");
    JournalTransaction second = prepared(journal, "{\"n\":2}");
    JournalTransaction third = prepared(journal, "{\"n\":3}");
    journal.commit(second);
    journal.abort(third);
    journal.commit(first);
    assertTrue(journal.close(0));
    assertEquals(
        List.of(
            "PREPARE/1", "PREPARE/2", "PREPARE/3", "COMMIT/2", "ABORT/3", "COMMIT/1", "CLOSE/0"),
        kinds());
    assertEquals(List.of(1L, 2L), commits());
  }

  @Test
  void anEventComesBackAsItWasWritten() throws IOException {
    Journal journal = open(1 << 20);
    EventBuffer buffer = EventBuffer.take();
    Map<Field, String> fields =
        Map.of(Field.ID, "e1", Field.REALM_NAME, "größe-東京", Field.RESOURCE_PATH, "x".repeat(5000));
    Samples.add(buffer, EventKind.ADMIN, 42, fields, "{\"a\":\"äöü\"}");
    journal.prepareAndCommit(new JournalTransaction(), buffer);
    JournalReader.Event event = disk.entries().get(0).events().get(0);
    assertEquals(EventKind.ADMIN, event.kind());
    assertEquals(42, event.time());
    assertEquals("{\"a\":\"äöü\"}", event.body());
    assertEquals(Map.of(Field.ID, "e1", Field.REALM_NAME, "größe-東京"), event.fields());
  }

  @Test
  void aTransactionWithoutEventsLeavesNoRecord() throws IOException {
    Journal journal = open(1 << 20);
    journal.commit(new JournalTransaction());
    journal.abort(new JournalTransaction());
    assertEquals(List.of(), kinds());
  }

  @Test
  void segmentsFollowEachOtherBySealAndStayWithinTheirSize() throws IOException {
    Journal journal = open(4096);
    for (int i = 0; i < 100; i++) {
      journal.prepareAndCommit(new JournalTransaction(), Samples.event("{\"n\":" + i + "}"));
    }
    journal.close(0);
    List<JournalReader.Contents> segments = disk.segments();
    assertTrue(segments.size() > 2, "more than two segments");
    long commit = 1;
    for (int i = 0; i < segments.size(); i++) {
      JournalReader.Contents segment = segments.get(i);
      List<JournalReader.Entry> entries = segment.entries();
      assertEquals(i, segment.number());
      assertEquals(commit, segment.firstCommit());
      assertTrue(segment.isWhole());
      assertTrue(segment.length() <= 4096, "size " + segment.length());
      RecordKind last = i == segments.size() - 1 ? RecordKind.CLOSE : RecordKind.SEAL;
      assertEquals(last, entries.get(entries.size() - 1).kind());
      commit += entries.stream().filter(entry -> entry.kind() == RecordKind.COMMIT).count();
    }
    assertEquals(101, commit);
  }

  @Test
  void aRecordLargerThanASegmentGetsOneAlone() throws IOException {
    Journal journal = open(4096);
    journal.prepareAndCommit(new JournalTransaction(), Samples.event("{}"));
    journal.prepareAndCommit(
        new JournalTransaction(), Samples.event("\"" + "x".repeat(10_000) + "\""));
    journal.prepareAndCommit(new JournalTransaction(), Samples.event("{}"));
    assertEquals(List.of(3, 3, 2), disk.segments().stream().map(s -> s.entries().size()).toList());
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 31, 32, 33, 64})
  void aTornWriteIsUndone(int partial) throws IOException {
    Journal journal = open(1 << 20);
    JournalTransaction before = prepared(journal, "{\"n\":1}");
    EventBuffer lost = Samples.event("{\"n\":2}");
    disk.failWrites(1, 1, partial);
    JournalException error =
        assertThrows(JournalException.class, () -> journal.prepare(new JournalTransaction(), lost));
    assertEquals(GapCause.NO_SPACE, error.gapCause());
    assertTrue(error.getMessage().contains("-00000000.kfj"), error.getMessage());
    assertFalse(lost.isEmpty(), "the events stay with the caller");
    journal.commit(before);
    journal.close(0);
    assertEquals(List.of("PREPARE/1", "COMMIT/1", "CLOSE/0"), kinds());
    assertTrue(disk.segments().get(0).isWhole());
  }

  @Test
  void aSegmentThatCannotBeMendedIsAbandoned() throws IOException {
    Journal journal = open(1 << 20);
    JournalTransaction before = prepared(journal, "{\"n\":1}");
    disk.failWrites(1, 1, 20).failTruncate(true);
    EventBuffer lost = Samples.event("{\"n\":2}");
    assertThrows(JournalException.class, () -> journal.prepare(new JournalTransaction(), lost));
    disk.heal();
    journal.commit(before);
    journal.close(0);
    List<JournalReader.Contents> segments = disk.segments();
    assertEquals(List.of(0, 1), segments.stream().map(JournalReader.Contents::number).toList());
    assertFalse(segments.get(0).isWhole(), "the torn bytes stay");
    assertEquals(List.of("PREPARE/1", "COMMIT/1", "CLOSE/0"), kinds());
  }

  @Test
  void aPrepareThatOutlivesItsTornCommitIsAborted() throws IOException {
    Journal journal = open(1 << 20);
    EventBuffer events = Samples.event("{\"n\":1}");
    disk.failWrites(1, 1, events.recordLength() + 8).failTruncate(true);
    assertThrows(
        JournalException.class, () -> journal.prepareAndCommit(new JournalTransaction(), events));
    loseOne(events);
    disk.heal();
    journal.settle();
    assertEquals(List.of("PREPARE/1", "GAP/0", "ABORT/1"), kinds());
  }

  /** A reader may have taken the PREPARE already: to cut it off would put another record there. */
  @Test
  void aPrepareThatIsWholeStaysAndOnlyItsCommitIsOwed() throws IOException {
    Journal journal = open(1 << 20);
    EventBuffer events = Samples.event("{\"n\":1}");
    disk.failWrites(1, 1, events.recordLength() + 8);
    journal.prepareAndCommit(new JournalTransaction(), events);
    assertEquals(List.of("PREPARE/1"), kinds());
    assertTrue(events.isEmpty(), "its events are journaled");
    journal.prepareAndCommit(new JournalTransaction(), Samples.event("{\"n\":2}"));
    assertEquals(List.of("PREPARE/1", "COMMIT/1", "PREPARE/2", "COMMIT/2"), kinds());
    assertEquals(List.of(1L, 2L), commits());
  }

  @Test
  void outcomesThatCannotBeWrittenAreWrittenLaterAndOnce() throws IOException {
    Journal journal = open(1 << 20);
    JournalTransaction first = prepared(journal, "{\"n\":1}");
    JournalTransaction second = prepared(journal, "{\"n\":2}");
    JournalTransaction third = prepared(journal, "{\"n\":3}");
    disk.failWrites(1, 3, 7);
    journal.commit(first);
    journal.abort(second);
    journal.commit(third);
    journal.commit(first);
    assertEquals(List.of("PREPARE/1", "PREPARE/2", "PREPARE/3"), kinds());
    journal.prepareAndCommit(new JournalTransaction(), Samples.event("{\"n\":4}"));
    assertEquals(
        List.of(
            "PREPARE/1",
            "PREPARE/2",
            "PREPARE/3",
            "COMMIT/1",
            "ABORT/2",
            "COMMIT/3",
            "PREPARE/4",
            "COMMIT/4"),
        kinds());
    assertEquals(List.of(1L, 2L, 3L), commits());
  }

  @Test
  void theBackgroundTaskWritesPendingOutcomes() throws IOException {
    Journal journal = open(1 << 20);
    JournalTransaction transaction = prepared(journal, "{\"n\":1}");
    disk.failWrites(1, 1, 7);
    journal.commit(transaction);
    journal.settle();
    assertEquals(List.of("PREPARE/1", "COMMIT/1"), kinds());
  }

  @Test
  void aGapPrecedesTheNextRecordAndIsToldOnce() throws IOException {
    Journal journal = open(1 << 20);
    EventBuffer user = Samples.event("{}");
    EventBuffer admin = Samples.adminEvent("{}");
    loseOne(user);
    loseOne(admin);
    disk.failWrites(1, 1, 40);
    assertThrows(JournalException.class, journal::settle);
    prepared(journal, "{\"n\":1}");
    prepared(journal, "{\"n\":2}");
    assertEquals(List.of("GAP/0", "PREPARE/1", "PREPARE/2"), kinds());
    long time = Samples.NOW.toEpochMilli();
    assertEquals(new JournalReader.Gap(1, 1, time, time + 1, 1), disk.entries().get(0).gap());
  }

  @Test
  void aNextSegmentThatCannotBeBegunIsTriedAgain() throws IOException {
    Journal journal = open(4096);
    prepared(journal, "{\"n\":\"" + "x".repeat(3800) + "\"}");
    disk.failCreate(true);
    JournalTransaction second = new JournalTransaction();
    assertThrows(
        JournalException.class,
        () -> journal.prepare(second, Samples.event("\"" + "x".repeat(300) + "\"")));
    disk.heal();
    disk.failWrites(1, 1, 10);
    assertThrows(
        JournalException.class,
        () -> journal.prepare(second, Samples.event("\"" + "x".repeat(300) + "\"")));
    assertEquals(1, disk.files().size(), "a segment whose header failed is taken away");
    journal.prepare(second, Samples.event("{}"));
    assertEquals(List.of("PREPARE/1", "SEAL/0", "PREPARE/2"), kinds());
  }

  @Test
  void inputOutputErrorsAreToldFromAFullDisk() throws IOException {
    Journal journal = open(1 << 20);
    disk.failWrites(1, 1, 0).error("Input/output error");
    JournalException error =
        assertThrows(
            JournalException.class,
            () -> journal.prepare(new JournalTransaction(), Samples.event("{}")));
    assertEquals(GapCause.IO_ERROR, error.gapCause());
  }

  @Test
  void theEpochEndsWithTheLastOutcome() throws IOException {
    Journal journal = open(1 << 20);
    JournalTransaction late = prepared(journal, "{\"n\":1}");
    assertFalse(journal.close(1), "a transaction is under way");
    journal.commit(late);
    assertEquals(List.of("PREPARE/1", "COMMIT/1", "CLOSE/0"), kinds());
    assertThrows(
        JournalException.class,
        () -> journal.prepare(new JournalTransaction(), Samples.event("{}")));
    assertTrue(journal.close(0));
    assertEquals(3, kinds().size(), "nothing follows CLOSE");
  }

  @Test
  void theEpochIsLaterThanAnyThatHasASegment() throws IOException {
    Journal first = open(1 << 20);
    Journal second = open(1 << 20);
    long expected =
        (Samples.NOW.getEpochSecond() * 1_000_000 + Samples.NOW.getNano() / 1000) & -256L;
    assertEquals(expected, first.epoch());
    assertEquals(expected + 256, second.epoch(), "the clock stands still");
    second.close(0);
    // A power cut takes what was not synced; the agent may know how far it was.
    disk.files().clear();
    Journal third = open(1 << 20);
    assertEquals(expected + 512, third.epoch(), "an epoch is remembered without its segments");
    assertEquals(
        List.of(Format.epochMark(third.epoch())),
        disk.list(DIRECTORY).stream().filter(name -> name.endsWith(Format.EPOCH_MARK)).toList());
  }
}
