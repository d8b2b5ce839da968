package org.keyferry.provider;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.keycloak.events.Event;
import org.keycloak.services.DefaultKeycloakTransactionManager;
import org.keyferry.journal.EventBuffer;
import org.keyferry.journal.EventJournal;
import org.keyferry.journal.EventKind;
import org.keyferry.journal.FullSegments;
import org.keyferry.journal.JournalException;
import org.keyferry.journal.JournalTransaction;
import org.keyferry.journal.OutcomeStore;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Threads;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.infra.Blackhole;

/**
 * What one event costs a thread of Keycloak: a transaction of Keycloak's own manager with one event
 * in it, from {@code begin} to the end of {@code commit}. The listener, the encoding by Keycloak's
 * mapper and the journal on a real file system, with its default settings, are those that ship; the
 * session is a fake, whose answers cost a little more than Keycloak's.
 */
@Fork(1)
@Warmup(iterations = 3, time = 3)
@Measurement(iterations = 5, time = 3)
public class ListenerBenchmark {
  private static final int EVENTS = 60;

  /** Of each of 64 threads: 10,000 events a second together, far more than Keycloak ever raises. */
  private static final long PAUSE_NANOS = 6_400_000;

  /** JMH's measure of a computation, of which one takes one or two nanoseconds. */
  private static final long TOKENS = 5_000;

  /** The journal that all threads write to. */
  @State(Scope.Benchmark)
  public static class Journal {
    Path directory;
    Options options;
    UnwantedTypes unwanted;
    Enricher enricher;
    EventJournal journal;
    FullSegments full;

    /** Opens it, on the default settings. */
    @Setup
    public void open() throws IOException {
      directory = Files.createTempDirectory("keyferry-jmh");
      options =
          Options.read(
              MapScope.options(Map.of("journal-dir", directory.toString(), "topic-events", "t")),
              Map.of(),
              System::getProperty);
      journal =
          new EventJournal(
              new EventJournal.Settings(
                  options.journalDirectory(),
                  "node-a",
                  options.segmentSize(),
                  options.durability(),
                  options.maxSize(),
                  options.minFree(),
                  OutcomeStore.NONE));
      unwanted = new UnwantedTypes();
      enricher = new Enricher(options.enrich());
      journal.open(
          slot -> {
            unwanted.listen(slot);
            full = new FullSegments(slot);
          });
    }

    /** Makes sure that every event was written: an append that is refused is cheap. */
    @TearDown
    public void close() throws IOException {
      journal.close();
      full.close();
      EventJournal.Status status = journal.status();
      long lost = journal.dropped(EventKind.USER);
      try (Stream<Path> files = Files.walk(directory)) {
        files.sorted((a, b) -> b.compareTo(a)).map(Path::toFile).forEach(java.io.File::delete);
      }
      if (lost > 0 || status.problem() != null) {
        throw new IllegalStateException(lost + " events lost: " + status);
      }
    }
  }

  /** A thread of Keycloak with its request. */
  @State(Scope.Thread)
  public static class Request {
    private static final AtomicLong SEED = new AtomicLong();

    private final FakeSession session = new FakeSession();
    private Event[] events;
    private int next;

    /** Makes the thread's events. */
    @Setup
    public void make() {
      events = SampleEvents.of(SEED.incrementAndGet(), EVENTS);
    }

    Event nextEvent() {
      next = next + 1 == EVENTS ? 0 : next + 1;
      return events[next];
    }

    void run(Journal journal) {
      session.manager(new DefaultKeycloakTransactionManager(session.session())).begun();
      new KeyferryEventListener(
              session.session(),
              journal.journal,
              journal.options,
              journal.unwanted,
              journal.enricher)
          .onEvent(nextEvent());
      session.manager().commit();
    }
  }

  /** A thread that does something else between two requests. */
  @State(Scope.Thread)
  public static class Pause {
    /** Not measured. */
    @Setup(Level.Invocation)
    public void pause() {
      LockSupport.parkNanos(PAUSE_NANOS);
    }
  }

  /** As fast as it goes, all threads at once. */
  @Benchmark
  @BenchmarkMode({Mode.Throughput, Mode.SampleTime})
  @OutputTimeUnit(TimeUnit.MICROSECONDS)
  @Threads(64)
  public void saturated(Journal journal, Request request) {
    request.run(journal);
  }

  /** As many threads, with time between their events. */
  @Benchmark
  @BenchmarkMode(Mode.SampleTime)
  @OutputTimeUnit(TimeUnit.MICROSECONDS)
  @Threads(64)
  public void paced(Journal journal, Request request, Pause pause) {
    request.run(journal);
  }

  /**
   * As {@link #paced}, of a computation that takes about as long and touches nothing of ours: what
   * is in its tail is the machine's.
   */
  @Benchmark
  @BenchmarkMode(Mode.SampleTime)
  @OutputTimeUnit(TimeUnit.MICROSECONDS)
  @Threads(64)
  public void pacedMachine(Pause pause) {
    Blackhole.consumeCPU(TOKENS);
  }

  /** Without anybody beside it. */
  @Benchmark
  @BenchmarkMode(Mode.SampleTime)
  @OutputTimeUnit(TimeUnit.MICROSECONDS)
  @Threads(1)
  public void alone(Journal journal, Request request) {
    request.run(journal);
  }

  /** Only what becomes of the event before anything is written. */
  @Benchmark
  @BenchmarkMode(Mode.SampleTime)
  @OutputTimeUnit(TimeUnit.MICROSECONDS)
  @Threads(1)
  public int encoding(Request request) throws IOException {
    EventBuffer buffer = EventBuffer.take();
    EventEncoder.encode(request.nextEvent(), null, null, buffer);
    int size = buffer.size();
    buffer.recycle();
    return size;
  }

  /** Only what is written: PREPARE and COMMIT of an event that is encoded. */
  @Benchmark
  @BenchmarkMode(Mode.SampleTime)
  @OutputTimeUnit(TimeUnit.MICROSECONDS)
  @Threads(1)
  public void appending(Journal journal, Encoded encoded) throws JournalException {
    JournalTransaction transaction = new JournalTransaction();
    journal.journal.prepare(transaction, encoded.buffer);
    journal.journal.commit(transaction);
  }

  /** An event that waits to be written. */
  @State(Scope.Thread)
  public static class Encoded {
    final EventBuffer buffer = EventBuffer.take();
    private Event event;

    /** Makes the event. */
    @Setup
    public void make() {
      event = SampleEvents.of(1, 1)[0];
    }

    /** Encodes it; not measured. */
    @Setup(Level.Invocation)
    public void encode() throws IOException {
      EventEncoder.encode(event, null, null, buffer);
    }
  }
}
