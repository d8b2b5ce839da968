package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Clock;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The writer on the real file system. */
class LocalJournalTest {
  @TempDir Path temporary;

  private Journal open(long segmentSize) throws IOException {
    return open(segmentSize, Durability.NONE);
  }

  private Journal open(long segmentSize, Durability durability) throws IOException {
    Journal.Settings settings =
        new Journal.Settings(
            "node-a",
            segmentSize,
            durability,
            Ceiling.Limits.NONE,
            OutcomeStore.NONE,
            Clock.systemUTC());
    return Journal.open(new LocalDisk(), temporary.resolve("journal"), settings, new Losses());
  }

  private static List<JournalReader.Contents> segments(Path slot) throws IOException {
    try (Stream<Path> files = Files.list(slot)) {
      List<JournalReader.Contents> segments = new ArrayList<>();
      for (Path file : files.filter(path -> path.toString().endsWith(".kfj")).sorted().toList()) {
        segments.add(JournalReader.read(Files.readAllBytes(file)));
      }
      return segments;
    }
  }

  private static String mode(Path path) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
  }

  @Test
  void filesBelongToTheirOwnerAlone() throws IOException {
    Journal journal = open(1 << 20);
    assertEquals("rwx------", mode(temporary.resolve("journal")));
    assertEquals("rwx------", mode(journal.slot()));
    try (Stream<Path> files = Files.list(journal.slot())) {
      for (Path file : files.toList()) {
        assertEquals("rw-------", mode(file), file.toString());
      }
    }
    journal.close(0);
  }

  @ParameterizedTest
  @MethodSource("durabilities")
  void manyThreadsLeaveWholeRecordsAndNumbersWithoutGaps(Durability durability) throws Exception {
    int threads = 64;
    int each = durability.syncs() ? 30 : 200;
    Journal journal = open(64 << 10, durability);
    ExecutorService workers = Executors.newFixedThreadPool(threads);
    List<Future<?>> running = new ArrayList<>();
    for (int worker = 0; worker < threads; worker++) {
      int number = worker;
      running.add(workers.submit(() -> work(journal, number, each)));
    }
    for (Future<?> worker : running) {
      worker.get();
    }
    workers.shutdown();
    assertTrue(journal.close(0));
    // Where PREPAREs must be durable, each has an id of its own.
    int seconds = durability.syncs() ? threads * ((each + 2) / 3) : 0;
    check(segments(journal.slot()), threads * each + seconds, expectedCommitted(threads, each));
  }

  /** Every third transaction has two PREPAREs, every fifth is aborted. */
  private static Void work(Journal journal, int worker, int transactions) throws JournalException {
    for (int i = 0; i < transactions; i++) {
      JournalTransaction transaction = new JournalTransaction();
      EventBuffer buffer = Samples.event(worker + ":" + i);
      if (i % 3 == 0) {
        journal.prepare(transaction, buffer);
        Samples.add(buffer, EventKind.USER, 1, Map.of(), worker + ":" + i + ":late");
      }
      if (i % 5 == 0) {
        journal.prepare(transaction, buffer);
        journal.abort(transaction);
      } else {
        journal.prepareAndCommit(transaction, buffer);
      }
      buffer.recycle();
    }
    return null;
  }

  private static void check(
      List<JournalReader.Contents> segments, int ids, Set<String> expectedCommitted) {
    long commit = 1;
    Map<Long, List<String>> bodies = new HashMap<>();
    Set<Long> decided = new HashSet<>();
    Set<String> committed = new HashSet<>();
    for (int i = 0; i < segments.size(); i++) {
      JournalReader.Contents segment = segments.get(i);
      assertTrue(segment.isWhole());
      assertEquals(i, segment.number());
      for (JournalReader.Entry entry : segment.entries()) {
        switch (entry.kind()) {
          case PREPARE -> {
            assertFalse(decided.contains(entry.transaction()), "PREPARE after the outcome");
            bodies
                .computeIfAbsent(entry.transaction(), id -> new ArrayList<>())
                .addAll(entry.events().stream().map(JournalReader.Event::body).toList());
          }
          case COMMIT -> {
            assertEquals(commit++, entry.commit());
            assertTrue(decided.add(entry.transaction()), "one outcome");
            committed.addAll(bodies.get(entry.transaction()));
          }
          case ABORT -> assertTrue(decided.add(entry.transaction()), "one outcome");
          default -> {}
        }
      }
    }
    assertEquals(ids, decided.size());
    assertEquals(expectedCommitted, committed);
  }

  private static Set<String> expectedCommitted(int workers, int transactions) {
    Set<String> expected = new HashSet<>();
    for (int worker = 0; worker < workers; worker++) {
      for (int i = 0; i < transactions; i++) {
        if (i % 5 != 0) {
          expected.add(worker + ":" + i);
          if (i % 3 == 0) {
            expected.add(worker + ":" + i + ":late");
          }
        }
      }
    }
    return expected;
  }

  static List<Durability> durabilities() {
    return List.of(Durability.NONE, Samples.OUTCOME);
  }

  @ParameterizedTest
  @MethodSource("durabilities")
  void anInterruptedThreadDoesNotHarmTheJournal(Durability durability) throws Exception {
    Journal journal = open(4 << 10, durability);
    AtomicReference<Exception> failure = new AtomicReference<>();
    Thread writer =
        new Thread(
            () -> {
              for (int i = 0; i < 200; i++) {
                Thread.currentThread().interrupt();
                try {
                  journal.prepareAndCommit(new JournalTransaction(), Samples.event("{}"));
                } catch (JournalException e) {
                  failure.set(e);
                }
              }
            });
    writer.start();
    writer.join();
    assertNull(failure.get(), "an interrupt must not fail the append");
    assertEquals(0, journal.syncFailures().count());
    journal.prepareAndCommit(new JournalTransaction(), Samples.event("{}"));
    journal.close(0);
    long commits =
        segments(journal.slot()).stream()
            .flatMap(segment -> segment.entries().stream())
            .filter(entry -> entry.kind() == RecordKind.COMMIT)
            .count();
    assertEquals(201, commits);
  }

  @Test
  void aSecondWriterOfTheProcessTakesTheNextSlotAndLeavesTheFirstItsLock() throws Exception {
    Journal first = open(1 << 20);
    Journal second = open(1 << 20);
    assertEquals("slot-0", first.slot().getFileName().toString());
    assertEquals("slot-1", second.slot().getFileName().toString());
    second.close(0);
    try (LockHolder other = new LockHolder(temporary.resolve("journal"))) {
      assertEquals("slot-1", other.slot(), "another process still finds slot-0 locked");
    }
    first.close(0);
  }

  @Test
  void aSlotOfAnotherProcessIsPassedOverAndTakenAgainWhenThatIsGone() throws Exception {
    Files.createDirectories(temporary.resolve("journal"));
    try (LockHolder other = new LockHolder(temporary.resolve("journal"))) {
      assertEquals("slot-0", other.slot());
      Journal journal = open(1 << 20);
      assertEquals("slot-1", journal.slot().getFileName().toString());
      journal.close(0);
    }
    Journal journal = open(1 << 20);
    assertEquals("slot-0", journal.slot().getFileName().toString());
    journal.close(0);
  }
}
