package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a power cut and a disk that cannot sync leave of the journal. */
@Timeout(15)
class DurabilityTest {
  private static final Path DIRECTORY = Path.of("/data/journal");

  private final FakeDisk disk = new FakeDisk();
  private final ManualClock clock = new ManualClock();
  private final Losses losses = new Losses();
  private final ExecutorService workers = Executors.newCachedThreadPool();

  @AfterEach
  void stopWorkers() {
    workers.shutdownNow();
  }

  private Journal open(Durability durability) throws IOException {
    return open(durability, 1 << 20);
  }

  private Journal open(Durability durability, long segmentSize) throws IOException {
    return Journal.open(
        disk,
        DIRECTORY,
        new Journal.Settings(
            "node-a", segmentSize, durability, Ceiling.Limits.NONE, OutcomeStore.NONE, clock),
        losses);
  }

  private static JournalTransaction prepared(Journal journal, String body) throws JournalException {
    JournalTransaction transaction = new JournalTransaction();
    journal.prepare(transaction, Samples.event(body));
    return transaction;
  }

  private List<Future<JournalTransaction>> prepareAll(Journal journal, int count) {
    List<Future<JournalTransaction>> running = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      String body = body(i);
      running.add(workers.submit(preparing(journal, body)));
    }
    return running;
  }

  /** Fails if the PREPARE would not survive a power cut when the database would commit. */
  private Callable<JournalTransaction> preparing(Journal journal, String body) {
    return () -> {
      JournalTransaction transaction = prepared(journal, body);
      assertTrue(Published.inDoubt(disk.durableEntries()).contains(body), body + " is not durable");
      return transaction;
    };
  }

  private static String body(int number) {
    return "{\"n\":" + number + "}";
  }

  private static Set<String> bodies(int count) {
    return new HashSet<>(IntStream.range(0, count).mapToObj(DurabilityTest::body).toList());
  }

  private static void await(BooleanSupplier condition) throws InterruptedException {
    while (!condition.getAsBoolean()) {
      TimeUnit.MILLISECONDS.sleep(1);
    }
  }

  private String segment(int number) {
    return disk.files().keySet().stream().sorted().toList().get(number);
  }

  private long syncsOf(int segment) {
    return disk.count("sync " + segment(segment));
  }

  private List<String> kinds() {
    return disk.entries().stream().map(entry -> entry.kind() + "/" + entry.transaction()).toList();
  }

  @Test
  void transactionsShareASyncAndNoneProceedsBeforeOneThatBeganAfterItsPrepare() throws Exception {
    Semaphore syncing = new Semaphore(0);
    Semaphore released = new Semaphore(0);
    disk.whileSyncing(
        () -> {
          syncing.release();
          released.acquireUninterruptibly();
        });
    Journal journal = open(Samples.COMMIT);
    List<Future<JournalTransaction>> first = prepareAll(journal, 1);
    syncing.acquire();
    List<Future<JournalTransaction>> others = new ArrayList<>();
    for (int i = 1; i < 64; i++) {
      others.add(workers.submit(preparing(journal, body(i))));
    }
    await(() -> disk.entries().size() == 64);
    assertFalse(first.get(0).isDone(), "its sync has not ended");

    released.release();
    first.get(0).get();
    syncing.acquire();
    assertEquals(
        0, others.stream().filter(Future::isDone).count(), "the first sync began too early");
    released.release(100);
    for (Future<JournalTransaction> other : others) {
      other.get();
    }
    assertEquals(2, syncsOf(0), "63 transactions share the second sync");
    assertEquals(64, Published.inDoubt(disk.durableEntries()).size());
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void afterAFailedSyncTheEventsAreInTheNextSegmentOnce(boolean oldCopiesAreLost) throws Exception {
    Journal journal = open(Samples.COMMIT);
    JournalTransaction before = prepared(journal, "{\"before\":1}");
    Semaphore syncing = new Semaphore(0);
    Semaphore released = new Semaphore(0);
    disk.failSyncs(1)
        .whileSyncing(
            () -> {
              syncing.release();
              released.acquireUninterruptibly();
            });
    List<Future<JournalTransaction>> waiting = prepareAll(journal, 8);
    syncing.acquire();
    await(() -> disk.entries().size() == 9);
    released.release(100);
    for (Future<JournalTransaction> each : waiting) {
      journal.commit(each.get());
    }
    journal.commit(before);
    assertTrue(journal.close(0));

    assertEquals(2, syncsOf(0), "one that succeeded, one that failed, and never again");
    if (oldCopiesAreLost) {
      disk.loseUnsynced(segment(0));
    }
    List<String> committed = Published.committed(disk.entries());
    assertEquals(9, committed.size(), committed.toString());
    Set<String> expected = bodies(8);
    expected.add("{\"before\":1}");
    assertEquals(expected, new HashSet<>(committed));
    assertEquals(List.of(), Published.inDoubt(disk.entries()));
    assertEquals(1, journal.syncFailures().count());
    String incident = journal.syncFailures().last();
    assertTrue(incident.contains(segment(0)), incident);
    assertTrue(incident.contains("Input/output error"), incident);
    assertTrue(incident.contains("journal-dir"), incident);
  }

  @Test
  void laterEventsOfATransactionSurviveAFailedSyncBesideTheEarlierOnes() throws Exception {
    Journal journal = open(Samples.COMMIT);
    JournalTransaction transaction = prepared(journal, "{\"n\":1}");
    disk.failSyncs(1);
    journal.prepare(transaction, Samples.event("{\"n\":2}"));
    journal.commit(transaction);
    assertEquals(List.of("{\"n\":1}", "{\"n\":2}"), Published.committed(disk.entries()));
    disk.loseUnsynced(segment(0));
    assertEquals(List.of("{\"n\":1}", "{\"n\":2}"), Published.committed(disk.entries()));
  }

  @Test
  void eventsWithoutTransactionSurviveAFailedSyncOnce() throws Exception {
    Journal journal = open(Samples.COMMIT);
    disk.failSyncs(1);
    journal.prepareAndCommit(new JournalTransaction(), Samples.event("{\"n\":1}"));
    assertEquals(List.of("{\"n\":1}"), Published.committed(disk.entries()));
    disk.loseUnsynced(segment(0));
    assertEquals(List.of("{\"n\":1}"), Published.committed(disk.entries()));
  }

  @Test
  void aPrepareThatTwoSegmentsDoNotTakeIsRefusedAndNeverPublished() throws Exception {
    Journal journal = open(Samples.COMMIT);
    disk.failSyncs(2);
    EventBuffer events = Samples.event("{\"n\":1}");
    JournalTransaction transaction = new JournalTransaction();
    JournalException error =
        assertThrows(JournalException.class, () -> journal.prepare(transaction, events));
    assertEquals(GapCause.IO_ERROR, error.gapCause());
    assertFalse(events.isEmpty(), "the events stay with the caller");
    journal.commit(transaction);
    clock.advance(Duration.ofSeconds(1));
    assertTrue(journal.close(0));
    assertEquals(List.of(), Published.committed(disk.entries()));
    assertEquals(List.of(), Published.inDoubt(disk.entries()));
  }

  @Test
  void aDiskThatNeverSyncsIsNotFilledWithSegments() throws Exception {
    Journal journal = open(Samples.COMMIT);
    disk.failSyncs(Integer.MAX_VALUE);
    for (int i = 0; i < 50; i++) {
      assertThrows(JournalException.class, () -> prepared(journal, "{}"));
    }
    assertEquals(2, disk.files().size());
    clock.advance(Duration.ofSeconds(1));
    assertThrows(JournalException.class, () -> prepared(journal, "{}"));
    assertEquals(3, disk.files().size(), "it is tried again");
    clock.advance(Duration.ofSeconds(1));
    assertThrows(JournalException.class, () -> prepared(journal, "{}"));
    assertEquals(3, disk.files().size(), "after a longer pause each time");
    disk.failSyncs(0);
    clock.advance(Duration.ofSeconds(1));
    prepared(journal, "{\"n\":1}");
    assertEquals(List.of("{\"n\":1}"), Published.inDoubt(disk.entries()));
  }

  @ParameterizedTest
  @EnumSource(
      value = Durability.Fsync.class,
      names = {"INTERVAL", "COMMIT"})
  void directoriesAndSealedSegmentsAreSyncedInTime(Durability.Fsync fsync) throws Exception {
    Journal journal = open(new Durability(fsync, Duration.ofHours(1), false), 4096);
    String large = "\"" + "x".repeat(3900) + "\"";
    prepared(journal, large);
    prepared(journal, large);
    String slot = "sync /data/journal/slot-0";
    List<String> operations = disk.operations();
    assertEquals(
        List.of("sync /data/journal", "sync /data", slot, "create " + segment(0), slot),
        operations.subList(0, 5));
    int next = operations.indexOf("create " + segment(1));
    assertEquals("sync " + segment(0), operations.get(next - 1), "before the next segment");
    assertEquals(slot, operations.get(next + 1));
    long prepared =
        disk.durableEntries().stream().filter(e -> e.kind() == RecordKind.PREPARE).count();
    assertEquals(fsync == Durability.Fsync.COMMIT ? 2 : 1, prepared);
    journal.close(0);
  }

  @Test
  void aSegmentWhoseEntryIsNotDurableTakesNothing() throws Exception {
    Journal journal = open(Samples.COMMIT, 4096);
    String large = "\"" + "x".repeat(3900) + "\"";
    prepared(journal, large);
    disk.failDirectorySyncs(1);
    EventBuffer events = Samples.event(large);
    assertThrows(JournalException.class, () -> journal.prepare(new JournalTransaction(), events));
    journal.prepare(new JournalTransaction(), events);
    List<JournalReader.Contents> segments = disk.segments();
    assertEquals(List.of(2, 0, 1), segments.stream().map(s -> s.entries().size()).toList());
  }

  @Test
  void neverMeansNever() throws Exception {
    Journal journal = open(Durability.NONE, 4096);
    for (int i = 0; i < 50; i++) {
      journal.commit(prepared(journal, "\"" + "x".repeat(500) + "\""));
    }
    journal.close(0);
    List<String> operations = disk.operations();
    assertEquals("sync /data/journal/slot-0", operations.get(0), "but for the epoch's mark");
    assertTrue(operations.stream().skip(1).allMatch(operation -> operation.startsWith("create")));
  }

  @Test
  void anOrderlyEndIsDurable() throws Exception {
    Journal journal = open(Samples.COMMIT);
    journal.commit(prepared(journal, "{}"));
    assertEquals(1, disk.durableEntries().size(), "an outcome is not waited for");
    journal.close(0);
    assertEquals(disk.entries(), disk.durableEntries());
    assertEquals(3, disk.entries().size());
  }

  @Test
  void whereDoubtIsNotPublishedATransactionsEndWaitsForItsOutcome() throws Exception {
    Journal journal = open(Samples.OUTCOME);
    journal.commit(prepared(journal, "{\"n\":1}"));
    assertEquals(List.of("{\"n\":1}"), Published.committed(disk.durableEntries()));
    journal.abort(prepared(journal, "{\"n\":2}"));
    assertEquals(List.of(), Published.inDoubt(disk.durableEntries()));
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void anOutcomeIsWrittenAgainAfterAFailedSync(boolean oldCopyIsLost) throws Exception {
    Journal journal = open(Samples.OUTCOME);
    JournalTransaction transaction = prepared(journal, "{\"n\":1}");
    disk.failSyncs(1);
    journal.commit(transaction);
    assertEquals(2, syncsOf(0));
    if (oldCopyIsLost) {
      disk.loseUnsynced(segment(0));
    }
    assertEquals(List.of("{\"n\":1}"), Published.committed(disk.durableEntries()));
    assertEquals(List.of("{\"n\":1}"), Published.committed(disk.entries()));
  }

  @Test
  void theBackgroundSyncsWhatNobodyWaitsFor() throws Exception {
    Durability interval = new Durability(Durability.Fsync.INTERVAL, Duration.ofMillis(10), false);
    try (EventJournal journal = eventJournal(interval)) {
      journal.open(slot -> {});
      journal.prepareAndCommit(new JournalTransaction(), Samples.event("{\"n\":1}"));
      await(() -> Published.committed(disk.durableEntries()).equals(List.of("{\"n\":1}")));
      long syncs = syncsOf(0);
      TimeUnit.MILLISECONDS.sleep(50);
      assertEquals(syncs, syncsOf(0), "nothing new, no sync");
    }
  }

  @Test
  void aFailedSyncIsAnIncidentThatStaysInSight() throws Exception {
    Durability interval = new Durability(Durability.Fsync.INTERVAL, Duration.ofMillis(10), false);
    try (EventJournal journal = eventJournal(interval)) {
      journal.open(slot -> {});
      disk.failSyncs(1);
      journal.prepareAndCommit(new JournalTransaction(), Samples.event("{\"n\":1}"));
      await(() -> journal.failedSyncs() == 1);
      journal.prepareAndCommit(new JournalTransaction(), Samples.event("{\"n\":2}"));
      String incident = journal.status().incident();
      assertTrue(incident.contains(segment(0)), incident);
      assertEquals(2, disk.files().size());
    }
  }

  private EventJournal eventJournal(Durability durability) {
    return new EventJournal(
        new EventJournal.Settings(
            DIRECTORY, "node-a", 1 << 20, durability, Long.MAX_VALUE, 0, OutcomeStore.NONE),
        disk,
        Clock.systemUTC());
  }

  @Test
  void everyRecordIsInOrderAfterTheFailure() throws Exception {
    Journal journal = open(Samples.COMMIT);
    disk.failSyncs(1);
    journal.commit(prepared(journal, "{\"n\":1}"));
    journal.close(0);
    assertEquals(List.of("PREPARE/1", "ABORT/1", "PREPARE/2", "COMMIT/2", "CLOSE/0"), kinds());
  }
}
