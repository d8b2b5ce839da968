package org.keyferry.journal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Measures what each mode of {@code journal-fsync} costs a transaction (a PREPARE of about 1 KiB
 * and its COMMIT) on the disk of a given directory. A program, not a test:
 *
 * <pre>
 * java -cp target/classes:target/test-classes:&lt;jboss-logging.jar&gt; org.keyferry.journal.FsyncCost DIRECTORY [SECONDS]
 * </pre>
 */
final class FsyncCost {
  private FsyncCost() {}

  public static void main(String[] arguments) throws Exception {
    Path directory = Path.of(arguments[0]);
    Duration span = Duration.ofSeconds(arguments.length > 1 ? Long.parseLong(arguments[1]) : 3);
    System.out.printf(
        "%-20s %8s %14s %10s %10s %10s%n",
        "journal-fsync", "threads", "transactions/s", "p50 us", "p99 us", "max us");
    for (Durability durability : modes()) {
      for (int threads : new int[] {1, 8, 64}) {
        measure(directory, durability, threads, span);
      }
    }
  }

  private static List<Durability> modes() {
    Duration second = Duration.ofSeconds(1);
    return List.of(
        Durability.NONE,
        new Durability(Durability.Fsync.INTERVAL, second, false),
        new Durability(Durability.Fsync.COMMIT, second, false),
        new Durability(Durability.Fsync.COMMIT, second, true));
  }

  private static void measure(Path parent, Durability durability, int threads, Duration span)
      throws Exception {
    Path directory = Files.createTempDirectory(parent, "fsync-cost");
    EventJournal.Settings settings =
        new EventJournal.Settings(
            directory, "node-a", 64 << 20, durability, Long.MAX_VALUE, 0, OutcomeStore.NONE);
    long[] micros;
    try (EventJournal journal = new EventJournal(settings)) {
      journal.open(slot -> {});
      run(journal, threads, Duration.ofMillis(500));
      micros = run(journal, threads, span);
    }
    delete(directory);
    Arrays.sort(micros);
    System.out.printf(
        "%-20s %8d %14.0f %10d %10d %10d%n",
        durability.fsync() + (durability.outcomes() ? " + outcome" : ""),
        threads,
        micros.length / (span.toMillis() / 1000.0),
        micros[micros.length / 2],
        micros[(int) (micros.length * 0.99)],
        micros[micros.length - 1]);
  }

  private static long[] run(EventJournal journal, int threads, Duration span) throws Exception {
    ExecutorService workers = Executors.newFixedThreadPool(threads);
    long end = System.nanoTime() + span.toNanos();
    List<Future<List<Long>>> running = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      running.add(workers.submit(() -> work(journal, end)));
    }
    List<Long> all = new ArrayList<>();
    for (Future<List<Long>> each : running) {
      all.addAll(each.get());
    }
    workers.shutdown();
    return all.stream().mapToLong(Long::longValue).toArray();
  }

  private static List<Long> work(EventJournal journal, long end) throws JournalException {
    String body = "\"" + "x".repeat(1000) + "\"";
    List<Long> micros = new ArrayList<>();
    while (System.nanoTime() < end) {
      EventBuffer buffer = Samples.event(body);
      JournalTransaction transaction = new JournalTransaction();
      long begin = System.nanoTime();
      journal.prepare(transaction, buffer);
      journal.commit(transaction);
      micros.add((System.nanoTime() - begin) / 1000);
      buffer.recycle();
    }
    return micros;
  }

  private static void delete(Path directory) throws IOException {
    try (var paths = Files.walk(directory)) {
      for (Path path : paths.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.delete(path);
      }
    }
  }
}
