package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The journal as the listener sees it. */
class EventJournalTest {
  @TempDir Path temporary;

  private static EventJournal journal(Path directory) {
    return new EventJournal(new EventJournal.Settings(directory, "node-a", 1 << 20));
  }

  private static List<JournalReader.Entry> entries(Path slot) throws IOException {
    try (var files = Files.list(slot)) {
      Path segment = files.filter(path -> path.toString().endsWith(".kfj")).findAny().orElseThrow();
      return JournalReader.read(Files.readAllBytes(segment)).entries();
    }
  }

  @Test
  void aJournalThatOpensLaterTellsWhatWasLostMeanwhile() throws Exception {
    Path directory = temporary.resolve("journal");
    Files.writeString(directory, "a file is in the way");
    EventJournal journal = journal(directory);
    CountDownLatch opened = new CountDownLatch(1);
    journal.open(slot -> opened.countDown());
    EventJournal.Status status = journal.status();
    assertNull(status.slot());
    assertTrue(status.problem().contains(directory.toString()), status.problem());
    assertTrue(status.problem().contains("not a directory"), status.problem());
    assertTrue(status.problem().contains("journal-dir"), status.problem());

    EventBuffer lost = Samples.event("{}");
    JournalTransaction transaction = new JournalTransaction();
    JournalException error =
        assertThrows(JournalException.class, () -> journal.prepareAndCommit(transaction, lost));
    journal.lose(lost, error);
    assertEquals(1, journal.dropped(EventKind.USER));

    Files.delete(directory);
    assertTrue(opened.await(30, TimeUnit.SECONDS), "the journal is opened in the background");
    journal.prepareAndCommit(new JournalTransaction(), Samples.event("{}"));
    assertNull(journal.status().problem());
    assertTrue(
        journal.status().lastLoss().contains("not a directory"), "what was lost stays in sight");
    journal.close();
    assertEquals(
        List.of(RecordKind.GAP, RecordKind.PREPARE, RecordKind.COMMIT, RecordKind.CLOSE),
        entries(directory.resolve("slot-0")).stream().map(JournalReader.Entry::kind).toList());
    assertEquals(1, journal.appended(EventKind.USER));
  }

  @Test
  void aProblemStaysUntilSomethingIsWritten() throws Exception {
    FakeDisk disk = new FakeDisk();
    EventJournal journal =
        new EventJournal(
            new EventJournal.Settings(Path.of("/journal"), "node-a", 1 << 20), disk, Samples.CLOCK);
    journal.open(slot -> {});
    disk.failWrites(1, 1, 0);
    JournalTransaction transaction = new JournalTransaction();
    EventBuffer events = Samples.event("{}");
    assertThrows(JournalException.class, () -> journal.prepare(transaction, events));
    journal.settle();
    assertTrue(journal.status().problem().contains("No space left"));
    journal.prepare(transaction, events);
    assertNull(journal.status().problem());
    journal.close();
  }

  @Test
  void allSlotsTakenIsSaid() {
    List<String> tried = new ArrayList<>();
    Disk full =
        new FakeDisk() {
          @Override
          public SegmentFile create(Path file) {
            throw new AssertionError("no slot, no segment");
          }

          @Override
          public Optional<Closeable> tryLock(Path file) {
            tried.add(file.toString());
            return Optional.empty();
          }
        };
    EventJournal journal =
        new EventJournal(
            new EventJournal.Settings(temporary, "node-a", 1 << 20), full, Samples.CLOCK);
    journal.open(slot -> {});
    assertEquals(256, tried.size());
    assertTrue(journal.status().problem().contains("all 256 slots are taken"));
    journal.close();
  }

  @Test
  void anEventLargerThanARecordIsLostWithItsOwnCause() throws Exception {
    EventJournal journal = journal(temporary.resolve("journal"));
    journal.open(slot -> {});
    EventBuffer large = EventBuffer.take();
    large.begin(EventKind.ADMIN, 7);
    large.body(new byte[(64 << 20) + 1]);
    large.end();
    JournalException error =
        assertThrows(
            JournalException.class, () -> journal.prepare(new JournalTransaction(), large));
    assertEquals(GapCause.TOO_LARGE, error.gapCause());
    journal.lose(large, error);
    assertNotNull(journal.status().problem());
    Path slot = journal.status().slot();
    journal.close(Duration.ofSeconds(1));
    assertEquals(new JournalReader.Gap(0, 1, 7, 7, 4), entries(slot).get(0).gap());
  }

  @Test
  void aLongNodeNameIsCutBetweenCharacters() {
    assertEquals("é".repeat(127), NodeName.fitting("é".repeat(200)));
    assertEquals("x" + "😀".repeat(63), NodeName.fitting("x" + "😀".repeat(64)));
    assertEquals("", NodeName.fitting(""));
  }
}
