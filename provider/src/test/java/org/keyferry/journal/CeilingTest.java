package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What the journal does when it may not take more room. */
class CeilingTest {
  private static final long MAX_SIZE = 32 << 10;
  private static final long SEGMENT_SIZE = 4 << 10;

  private final FakeDisk disk = new FakeDisk();
  private final ManualClock clock = new ManualClock();
  private final Losses losses = new Losses();

  private Journal open(long maxSize, long minFree) throws IOException {
    return Journal.open(
        disk,
        Path.of("/journal"),
        new Journal.Settings(
            "node-a",
            SEGMENT_SIZE,
            Durability.NONE,
            new Ceiling.Limits(maxSize, minFree),
            OutcomeStore.NONE,
            clock),
        losses);
  }

  private static EventBuffer event() {
    return Samples.event("\"" + "x".repeat(200) + "\"");
  }

  private JournalException lose(Journal journal) {
    EventBuffer events = event();
    JournalException error =
        assertThrows(
            JournalException.class, () -> journal.prepare(new JournalTransaction(), events));
    losses.add(events.asLost(error.gapCause()));
    return error;
  }

  /** Prepares transactions until no more are taken. */
  private static List<JournalTransaction> fill(Journal journal) {
    List<JournalTransaction> taken = new ArrayList<>();
    try {
      while (taken.size() < 10_000) {
        JournalTransaction transaction = new JournalTransaction();
        journal.prepare(transaction, event());
        taken.add(transaction);
      }
      throw new AssertionError("there is no ceiling");
    } catch (JournalException e) {
      assertEquals(GapCause.CEILING, e.gapCause());
      assertTrue(e.getMessage().contains("journal-max-size"), e.getMessage());
      return taken;
    }
  }

  private List<JournalReader.Gap> gaps() {
    return disk.entries().stream()
        .filter(entry -> entry.kind() == RecordKind.GAP)
        .map(JournalReader.Entry::gap)
        .toList();
  }

  private long count(RecordKind kind) {
    return disk.entries().stream().filter(entry -> entry.kind() == kind).count();
  }

  @Test
  void outcomesAndTheEndFindRoomWhenEventsDoNot() throws IOException {
    Journal journal = open(MAX_SIZE, 0);
    List<JournalTransaction> taken = fill(journal);
    assertTrue(disk.totalSize() > MAX_SIZE * 3 / 4, "the room is used: " + disk.totalSize());
    lose(journal);
    for (int i = 0; i < taken.size(); i++) {
      if (i % 2 == 0) {
        journal.commit(taken.get(i));
      } else {
        journal.abort(taken.get(i));
      }
    }
    assertTrue(journal.close(0));
    assertEquals(taken.size(), count(RecordKind.COMMIT) + count(RecordKind.ABORT));
    assertEquals(1, count(RecordKind.GAP));
    assertEquals(1, count(RecordKind.CLOSE));
    assertTrue(disk.totalSize() <= MAX_SIZE, "with all that is owed: " + disk.totalSize());
  }

  @Test
  void aCommittedEventCannotPassTheCeilingEither() throws IOException {
    Journal journal = open(MAX_SIZE, 0);
    fill(journal).forEach(journal::commit);
    JournalException error =
        assertThrows(
            JournalException.class,
            () -> {
              for (int i = 0; i < 1000; i++) {
                journal.prepareAndCommit(new JournalTransaction(), event());
              }
            });
    assertEquals(GapCause.CEILING, error.gapCause());
    assertTrue(disk.totalSize() <= MAX_SIZE);
  }

  @Test
  void eventsAreTakenAgainWhenTheAgentHasMadeRoomAndAGapTellsWhatIsMissing() throws IOException {
    Journal journal = open(MAX_SIZE, 0);
    fill(journal).forEach(journal::commit);
    lose(journal);
    lose(journal);
    disk.files().keySet().stream().limit(3).toList().forEach(disk.files()::remove);
    assertThrows(
        JournalException.class,
        () -> journal.prepare(new JournalTransaction(), event()),
        "the directory is asked once a second");
    clock.advance(Duration.ofSeconds(1));
    journal.prepare(new JournalTransaction(), event());
    long time = Samples.NOW.toEpochMilli();
    assertEquals(List.of(new JournalReader.Gap(2, 0, time, time, 2)), gaps());
  }

  /** Each GAP takes room: one for each lost event would fill the disk all the same. */
  @Test
  void atTheCeilingAGapIsToldOnceAMinute() throws IOException {
    Journal journal = open(MAX_SIZE, 0);
    List<JournalTransaction> taken = fill(journal);
    for (int i = 0; i < 20; i++) {
      lose(journal);
      journal.commit(taken.get(i));
      journal.settle();
    }
    assertEquals(1, count(RecordKind.GAP));
    clock.advance(Duration.ofMinutes(1));
    journal.settle();
    assertEquals(2, count(RecordKind.GAP));
    long told = gaps().stream().mapToLong(JournalReader.Gap::userEvents).sum();
    assertEquals(20, told);
  }

  @Test
  void whatEarlierEpochsLeftCounts() throws IOException {
    Journal earlier = open(MAX_SIZE, 0);
    int taken = fill(earlier).size();
    earlier.close(0);
    clock.advance(Duration.ofSeconds(1));
    Journal later = open(2 * MAX_SIZE, 0);
    int more = fill(later).size();
    assertTrue(more < taken * 3 / 2, more + " after " + taken);
    assertTrue(disk.totalSize() <= 2 * MAX_SIZE);
  }

  @Test
  void theDirectoryIsNotListedForEveryEvent() throws IOException {
    Journal journal = open(MAX_SIZE, 0);
    int listings = disk.listings();
    fill(journal);
    for (int i = 0; i < 100; i++) {
      lose(journal);
    }
    assertEquals(listings, disk.listings(), "within the first second");
    clock.advance(Duration.ofSeconds(1));
    for (int i = 0; i < 100; i++) {
      lose(journal);
    }
    assertEquals(listings + 1, disk.listings());
  }

  @Test
  void theFileSystemKeepsItsFreeRest() throws IOException {
    disk.freeSpace(2 << 20);
    Journal journal = open(Long.MAX_VALUE, 1 << 20);
    JournalTransaction before = new JournalTransaction();
    journal.prepare(before, event());
    disk.freeSpace(1 << 20);
    clock.advance(Duration.ofSeconds(1));
    JournalException error = lose(journal);
    assertEquals(GapCause.NO_SPACE, error.gapCause());
    assertTrue(error.getMessage().contains("journal-min-free"), error.getMessage());
    journal.commit(before);
    assertEquals(1, count(RecordKind.COMMIT));
    disk.freeSpace(2 << 20);
    clock.advance(Duration.ofMinutes(1));
    journal.prepare(new JournalTransaction(), event());
    assertEquals(2, count(RecordKind.PREPARE));
  }

  @Test
  void ourOwnWritesCountBetweenTheQuestionsForFreeSpace() throws IOException {
    disk.freeSpace((1 << 20) + (8 << 10));
    Journal journal = open(Long.MAX_VALUE, 1 << 20);
    assertThrows(
        JournalException.class,
        () -> {
          for (int i = 0; i < 1000; i++) {
            journal.prepare(new JournalTransaction(), event());
          }
        });
    assertTrue(disk.totalSize() <= 8 << 10, "size " + disk.totalSize());
  }
}
