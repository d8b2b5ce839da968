package org.keyferry.journal;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;

/**
 * Clients that journal events as the listener does, in several threads, over one or more lives of
 * the writer, each of which ends in order or by a kill in the middle of an operation. Everything
 * but the interleaving of the threads follows from the seed.
 */
final class CrashStateWorkload {
  private static final Duration GRACE = Duration.ofMillis(200);
  private static final long THREAD_ENDS_MILLIS = 5_000;

  private final long seed;
  private final Path root;
  private final RecordingTrace trace;
  private final Random random;
  private final AtomicInteger transactions = new AtomicInteger();
  private final long segmentSize;
  private final boolean refuses;
  private final boolean faulty;
  private final Durability durability;
  private final long maxSize;

  /** Whether each life settles what the one before left in doubt. */
  private final boolean settles;

  /** The database: which transactions have ended, and whether by a commit. */
  private final Map<String, Boolean> database = new ConcurrentHashMap<>();

  private CrashStateWorkload(long seed, Path root, RecordingTrace trace) {
    this.seed = seed;
    this.root = root;
    this.trace = trace;
    this.random = new Random(seed);
    this.segmentSize = 1024L << random.nextInt(5);
    this.refuses = random.nextBoolean();
    this.faulty = random.nextInt(5) < 2;
    Durability.Fsync fsync = Durability.Fsync.values()[Math.min(2, random.nextInt(5))];
    this.durability =
        new Durability(fsync, Duration.ofMillis(1 + random.nextInt(10)), random.nextBoolean());
    this.maxSize = random.nextInt(4) == 0 ? 4L * segmentSize + (8 << 10) : Long.MAX_VALUE;
    this.settles = random.nextInt(3) == 0;
  }

  /** Runs the workload of that seed in an empty directory and writes its trace. */
  static void record(long seed, Path root, Path traceFile) throws Exception {
    try (RecordingTrace trace = new RecordingTrace(traceFile)) {
      new CrashStateWorkload(seed, root, trace).run();
    }
  }

  private void run() throws Exception {
    String fsync = durability.fsync().name().toLowerCase(Locale.ROOT);
    trace.workload(seed, fsync, durability.awaitsOutcome());
    int lives = 1 + random.nextInt(3);
    for (int life = 0; life < lives; life++) {
      live(life);
    }
  }

  private void live(int life) throws Exception {
    int dieAt = random.nextBoolean() ? 0 : 3 + random.nextInt(80);
    RecordingDisk.Faults faults =
        faulty
            ? new RecordingDisk.Faults(0.06, 0.3, 0.04, 0.05, dieAt)
            : new RecordingDisk.Faults(0, 0, 0, 0, dieAt);
    RecordingDisk disk = new RecordingDisk(root, trace, faults, random.nextLong());
    EventJournal journal = new EventJournal(settings(), disk, Clock.systemUTC());
    try {
      journal.open(slot -> {});
      List<Thread> threads =
          IntStream.range(0, 2 + random.nextInt(3))
              .mapToObj(number -> new Client(disk, journal, new Random(random.nextLong())))
              .map(client -> daemon(client::run))
              .toList();
      threads.forEach(Thread::start);
      for (Thread thread : threads) {
        thread.join(THREAD_ENDS_MILLIS);
      }
      journal.close(GRACE);
    } catch (RecordingDisk.Killed e) {
      // The process is dead, whatever it was at.
    } finally {
      disk.end();
      rollBackWhatIsOpen();
    }
  }

  /** The database loses its connections to the dead process. */
  private void rollBackWhatIsOpen() {
    if (settles) {
      for (int number = 1; number <= transactions.get(); number++) {
        String name = "t" + number;
        if (database.putIfAbsent(name, false) == null) {
          trace.client("abort", name);
        }
      }
    }
  }

  private OutcomeStore.Verdict outcomeOf(List<EventReference> events) {
    String id = events.get(0).id();
    boolean committed = database.getOrDefault(id.substring(0, id.indexOf('.')), false);
    return committed ? OutcomeStore.Verdict.COMMITTED : OutcomeStore.Verdict.ABORTED;
  }

  private EventJournal.Settings settings() {
    return new EventJournal.Settings(
        root.resolve("journal"),
        "node-a",
        segmentSize,
        durability,
        maxSize,
        0,
        settles ? this::outcomeOf : OutcomeStore.NONE);
  }

  private static Thread daemon(Runnable work) {
    Thread thread = new Thread(work, "crash-state-client");
    thread.setDaemon(true);
    return thread;
  }

  /** One thread of clients: transactions one after the other, as the listener records them. */
  private final class Client {
    private final RecordingDisk disk;
    private final EventJournal journal;
    private final Random random;

    Client(RecordingDisk disk, EventJournal journal, Random random) {
      this.disk = disk;
      this.journal = journal;
      this.random = random;
    }

    void run() {
      try {
        for (int left = 3 + random.nextInt(8); left > 0; left--) {
          if (random.nextInt(6) == 0) {
            journal.settle();
          }
          new Transaction().run();
        }
      } catch (RecordingDisk.Killed e) {
        // The process is dead, and this thread of it.
      }
    }

    private final class Transaction {
      private final String name = "t" + transactions.incrementAndGet();
      private final JournalTransaction transaction = new JournalTransaction();
      private final EventBuffer buffer = EventBuffer.take();
      private final List<String> buffered = new ArrayList<>();
      private int events;

      void run() {
        if (random.nextInt(5) == 0) {
          raise(1);
          commit();
          return;
        }
        if (random.nextInt(8) == 0) {
          raise(1 + random.nextInt(3));
          prepare();
        }
        raise(1 + random.nextInt(3));
        boolean prepared = prepare();
        if (random.nextInt(4) == 0) {
          raise(1);
          prepare();
        }
        think();
        if (random.nextInt(4) == 0 || (refuses && !prepared)) {
          abort();
        } else {
          if (random.nextInt(5) == 0) {
            raise(1);
          }
          commit();
        }
      }

      /** Lets other threads come in between. */
      private void think() {
        for (int i = random.nextInt(20); i > 0; i--) {
          Thread.yield();
        }
      }

      private void raise(int count) {
        for (int i = 0; i < count; i++) {
          String id = name + "." + events++;
          buffered.add(id);
          int size = random.nextInt(4) == 0 ? random.nextInt(3000) : random.nextInt(200);
          String body = "{\"id\":\"" + id + "\",\"text\":\"" + "x".repeat(size) + "\"}";
          buffer.begin(random.nextInt(3) == 0 ? EventKind.ADMIN : EventKind.USER, events);
          buffer.field(Field.ID, id);
          buffer.body(body.getBytes(StandardCharsets.UTF_8));
          buffer.end();
        }
      }

      private boolean prepare() {
        disk.tell(() -> trace.offer(name, buffered));
        try {
          journal.prepare(transaction, buffer);
        } catch (JournalException e) {
          disk.tell(() -> trace.client("refused", name));
          return false;
        }
        disk.tell(() -> trace.client("prepared", name));
        buffered.clear();
        return true;
      }

      private void commit() {
        disk.tell(() -> end("commit", true));
        if (!buffer.isEmpty()) {
          disk.tell(() -> trace.offer(name, buffered));
          try {
            journal.prepareAndCommit(transaction, buffer);
            disk.tell(() -> trace.client("prepared", name));
          } catch (JournalException e) {
            disk.tell(() -> trace.client("refused", name));
            journal.lose(buffer, e);
          }
        }
        journal.commit(transaction);
        disk.tell(() -> trace.client("committed", name));
        buffer.recycle();
      }

      private void end(String how, boolean committed) {
        trace.client(how, name);
        database.put(name, committed);
      }

      private void abort() {
        disk.tell(() -> end("abort", false));
        journal.abort(transaction);
        disk.tell(() -> trace.client("aborted", name));
        buffer.recycle();
      }
    }
  }

  /** The files of the journal that was recorded, by the names that the trace calls them. */
  static Map<String, byte[]> segments(Path root) throws IOException {
    try (var files = Files.walk(root)) {
      Map<String, byte[]> segments = new TreeMap<>();
      for (Path file : files.filter(path -> path.toString().endsWith(".kfj")).toList()) {
        segments.put(root.relativize(file).toString(), Files.readAllBytes(file));
      }
      return segments;
    }
  }
}
