package org.keyferry.journal;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;

/**
 * The journal as the listener sees it: always there, whatever the disk does.
 *
 * <p>A journal that cannot be opened is tried again in the background; until then, and whenever an
 * append fails, events are counted as lost, reported by one error a while, and told by a gap record
 * as soon as one can be written. Safe for use by many threads.
 */
public final class EventJournal implements AutoCloseable {
  private static final Duration TICK = Duration.ofSeconds(1);
  private static final Duration RETRY_MAX = Duration.ofSeconds(30);

  /** One that syncs, which may take long, and one for all else. */
  private static final int BACKGROUND_THREADS = 2;

  /**
   * What the journal needs to know.
   *
   * @param directory the journal directory
   * @param node this node's name; cut to 255 bytes of UTF-8 where it is longer
   * @param segmentSize the size at which the next segment begins, in bytes
   * @param maxSize how many bytes the slot's segments may have; {@link Long#MAX_VALUE} for no limit
   * @param minFree how many bytes must stay free on the journal's file system
   * @param outcomes who knows what became of the transactions that the last process left without
   *     outcome
   */
  public record Settings(
      Path directory,
      String node,
      long segmentSize,
      Durability durability,
      long maxSize,
      long minFree,
      OutcomeStore outcomes) {
    /** A journal that forces nothing to disk, has no ceiling, and settles nothing. */
    public Settings(Path directory, String node, long segmentSize) {
      this(directory, node, segmentSize, Durability.NONE, Long.MAX_VALUE, 0, OutcomeStore.NONE);
    }
  }

  /**
   * What there is to tell about the journal.
   *
   * @param slot the slot's directory; {@code null} while the journal is not open
   * @param epoch the epoch's id as in the names of the segments; {@code null} while the journal is
   *     not open
   * @param problem why the journal is not open or the last append failed; {@code null} if all is
   *     well
   * @param lastLoss when and why events were lost last; {@code null} if none were
   * @param incident when and how the journal could not be forced to disk last, and what to do;
   *     {@code null} if that never happened
   */
  public record Status(Path slot, String epoch, String problem, String lastLoss, String incident) {}

  private record OpenFailure(GapCause gapCause, String what) {}

  private final Disk disk;
  private final Clock clock;
  private final Settings settings;
  private final Journal.Settings journalSettings;
  private final Losses losses = new Losses();
  private final LossLog lossLog;
  private final LongAdder appendedUserEvents = new LongAdder();
  private final LongAdder appendedAdminEvents = new LongAdder();
  private final LongAdder droppedUserEvents = new LongAdder();
  private final LongAdder droppedAdminEvents = new LongAdder();
  private final LongAdder refusedTransactions = new LongAdder();
  private final ScheduledExecutorService background =
      Executors.newScheduledThreadPool(BACKGROUND_THREADS, EventJournal::daemon);

  private volatile Journal journal;
  private volatile String problem;
  private volatile String lastLoss;
  private volatile OpenFailure openFailure =
      new OpenFailure(GapCause.IO_ERROR, "the journal is not open yet");
  private Consumer<Path> opened = slot -> {};
  private Duration retry = TICK;
  private boolean closed;

  /** A journal that is not open yet. */
  public EventJournal(Settings settings) {
    this(settings, new LocalDisk(), Clock.systemUTC());
  }

  EventJournal(Settings settings, Disk disk, Clock clock) {
    this.disk = disk;
    this.clock = clock;
    this.settings = settings;
    this.journalSettings =
        new Journal.Settings(
            NodeName.fitting(settings.node()),
            settings.segmentSize(),
            settings.durability(),
            new Ceiling.Limits(settings.maxSize(), settings.minFree()),
            settings.outcomes(),
            clock);
    this.lossLog = new LossLog(clock);
  }

  private static Thread daemon(Runnable task) {
    Thread thread = new Thread(task, "keyferry-journal");
    thread.setDaemon(true);
    return thread;
  }

  /**
   * Opens the journal, in the background again and again if it does not succeed at once. Never
   * throws.
   *
   * @param opened is called once with the slot's directory when the journal is open
   */
  public synchronized void open(Consumer<Path> opened) {
    this.opened = opened;
    tryOpen();
    background.scheduleWithFixedDelay(
        this::settle, TICK.toMillis(), TICK.toMillis(), TimeUnit.MILLISECONDS);
    if (settings.durability().syncs()) {
      long interval = settings.durability().interval().toMillis();
      background.scheduleWithFixedDelay(this::sync, interval, interval, TimeUnit.MILLISECONDS);
    }
  }

  private synchronized void tryOpen() {
    if (closed) {
      return;
    }
    try {
      journal = Journal.open(disk, settings.directory(), journalSettings, losses);
    } catch (IOException | RuntimeException e) {
      reportUnusable(e);
      background.schedule(this::tryOpen, retry.toMillis(), TimeUnit.MILLISECONDS);
      retry = retry.multipliedBy(2).compareTo(RETRY_MAX) < 0 ? retry.multipliedBy(2) : RETRY_MAX;
      return;
    }
    problem = null;
    Log.JOURNAL.infof("Journal opened: %s, epoch %016x", journal.slot(), journal.epoch());
    opened.accept(journal.slot());
  }

  private void reportUnusable(Exception cause) {
    String what =
        String.format(
            "the journal directory %s cannot be used: %s",
            settings.directory().toAbsolutePath(), reason(cause));
    GapCause gapCause = cause instanceof IOException e ? GapCause.of(e) : GapCause.IO_ERROR;
    openFailure = new OpenFailure(gapCause, what);
    problem =
        what
            + ". Events are lost until it can; Keycloak goes on. Make it a directory that Keycloak's user can write to, with free space, or"
            + " choose another one with the option journal-dir. It is tried again at least every "
            + RETRY_MAX.toSeconds()
            + " s";
    Log.JOURNAL.error(problem);
  }

  private static String reason(Exception cause) {
    if (cause instanceof AccessDeniedException denied) {
      return "no permission for " + denied.getFile();
    }
    if (cause instanceof FileAlreadyExistsException exists) {
      return exists.getFile() + " is not a directory";
    }
    if (cause instanceof FileSystemException failed && failed.getReason() != null) {
      return failed.getReason() + " (" + failed.getFile() + ")";
    }
    return cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage();
  }

  void settle() {
    try {
      Journal open = journal;
      if (open != null && open.settle()) {
        recovered();
      }
    } catch (JournalException e) {
      problem = e.getMessage();
    } catch (RuntimeException e) {
      Log.JOURNAL.error("The journal's background task failed and goes on", e);
    }
    lossLog.reportIfDue();
  }

  private void sync() {
    try {
      Journal open = journal;
      if (open != null) {
        open.sync();
      }
    } catch (JournalException e) {
      problem = e.getMessage();
    } catch (RuntimeException e) {
      Log.JOURNAL.error("The journal's background sync failed and goes on", e);
    }
  }

  /**
   * Appends the events of a transaction whose outcome is still open, and empties the buffer. Where
   * the journal is to survive a power cut, they do when this returns.
   *
   * @throws JournalException if they could not be written; they stay in the buffer
   */
  public void prepare(JournalTransaction transaction, EventBuffer events) throws JournalException {
    append(events, journal -> journal.prepare(transaction, events));
  }

  /**
   * Appends the events of a transaction and its commit by one write, and empties the buffer.
   *
   * @throws JournalException if they could not be written; they stay in the buffer, and earlier
   *     events of the transaction have no outcome yet
   */
  public void prepareAndCommit(JournalTransaction transaction, EventBuffer events)
      throws JournalException {
    append(events, journal -> journal.prepareAndCommit(transaction, events));
  }

  private interface Append {
    void to(Journal journal) throws JournalException;
  }

  private void append(EventBuffer events, Append append) throws JournalException {
    int userEvents = events.userEvents();
    int adminEvents = events.adminEvents();
    try {
      if (events.exceedsRecord()) {
        throw new JournalException(
            GapCause.TOO_LARGE,
            "events of " + events.size() + " bytes are larger than a record of the journal can be");
      }
      append.to(openJournal());
    } catch (JournalException e) {
      if (journal != null) {
        problem = e.getMessage();
      }
      throw e;
    }
    appendedUserEvents.add(userEvents);
    appendedAdminEvents.add(adminEvents);
    recovered();
  }

  private void recovered() {
    if (problem != null) {
      problem = null;
    }
  }

  private Journal openJournal() throws JournalException {
    Journal open = journal;
    if (open == null) {
      OpenFailure failure = openFailure;
      throw new JournalException(failure.gapCause(), failure.what());
    }
    return open;
  }

  /** Commits the events that were appended for the transaction. Does nothing if there are none. */
  public void commit(JournalTransaction transaction) {
    Journal open = journal;
    if (open != null) {
      open.commit(transaction);
    }
  }

  /** Drops the events that were appended for the transaction. Does nothing if there are none. */
  public void abort(JournalTransaction transaction) {
    Journal open = journal;
    if (open != null) {
      open.abort(transaction);
    }
  }

  /** Counts the buffer's events as lost and empties it. */
  public void lose(EventBuffer events, JournalException cause) {
    lose(events.asLost(cause.gapCause()), cause.getMessage());
    events.clear();
  }

  /**
   * Counts an event as lost that could not be recorded. {@code time} is its own, in milliseconds
   * since the Unix epoch.
   *
   * <p>Of the cause only the class is told: the message of a failed encoding may quote the event,
   * which has no place in a log.
   */
  public void loseUnrecordable(EventKind kind, long time, Exception cause) {
    int users = kind == EventKind.USER ? 1 : 0;
    lose(
        new Losses.Report(users, 1 - users, time, time, GapCause.IO_ERROR),
        "the event cannot be recorded: " + cause.getClass().getName());
  }

  private void lose(Losses.Report lost, String cause) {
    losses.add(lost);
    droppedUserEvents.add(lost.userEvents());
    droppedAdminEvents.add(lost.adminEvents());
    lastLoss = clock.instant() + ": " + cause;
    lossLog.add(lost, cause);
  }

  /** Counts a transaction that is made to fail because its events could not be journaled. */
  public void countRefused() {
    refusedTransactions.increment();
  }

  /** How often the journal could not be forced to disk. */
  public long failedSyncs() {
    Journal open = journal;
    return open == null ? 0 : open.syncFailures().count();
  }

  /** The node's name as it stands in the segment headers. */
  public String node() {
    return journalSettings.node();
  }

  /** How many events of the kind have been appended. */
  public long appended(EventKind kind) {
    return (kind == EventKind.USER ? appendedUserEvents : appendedAdminEvents).sum();
  }

  /** How many events of the kind have been lost because they could not be appended. */
  public long dropped(EventKind kind) {
    return (kind == EventKind.USER ? droppedUserEvents : droppedAdminEvents).sum();
  }

  /** How many transactions have been refused because their events could not be journaled. */
  public long refused() {
    return refusedTransactions.sum();
  }

  /** What there is to tell about the journal now. */
  public Status status() {
    Journal open = journal;
    return open == null
        ? new Status(null, null, problem, lastLoss, null)
        : new Status(
            open.slot(),
            String.format("%016x", open.epoch()),
            problem,
            lastLoss,
            open.syncFailures().last());
  }

  /**
   * Ends the epoch in order, when the transactions that are under way have their outcome.
   *
   * @param grace how long to wait for that; afterwards the last of their outcomes ends the epoch
   */
  public void close(Duration grace) {
    background.shutdownNow();
    Journal open;
    synchronized (this) {
      closed = true;
      open = journal;
    }
    if (open != null && !open.close(grace.toMillis())) {
      Log.JOURNAL.warnf(
          "Transactions are still without outcome after %d s; the last outcome closes the journal.",
          grace.toSeconds());
    }
    lossLog.reportNow();
  }

  /** Ends the epoch in order without waiting. */
  @Override
  public void close() {
    close(Duration.ZERO);
  }
}
