package org.keyferry.journal;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The writer of one epoch.
 *
 * <p>Invariants, all under one lock: commit numbers have no gaps in the order of the COMMIT
 * records; a transaction has at most one outcome; an outcome that cannot be written is kept and
 * written before anything else; what is lost is told by a GAP before the next record. Encoding
 * happens outside of the lock; inside are a checksum and one write.
 *
 * <p>Where PREPAREs must be durable, a thread waits for that outside of the lock and keeps the
 * events in hand meanwhile. If the sync fails, nobody can know whether the PREPARE is readable: its
 * transaction id is aborted and the events are prepared again in the next segment under another
 * one. That is why each PREPARE has an id of its own there, and why a COMMIT never shares its
 * write.
 */
final class Journal {
  private static final int COMMIT_LENGTH = Format.recordLength(Format.COMMIT_PAYLOAD);
  private static final int REPEATED_COMMIT_LENGTH =
      Format.recordLength(Format.MARKED_COMMIT_PAYLOAD);
  private static final int GAP_LENGTH = Format.recordLength(Format.GAP_PAYLOAD);

  /** SEAL and CLOSE. */
  private static final int ENDS_LENGTH = 2 * Format.RECORD_HEADER;

  /** How often, at most, losses are told while the journal is at its ceiling. */
  private static final long GAP_INTERVAL_MILLIS = 60_000;

  /** How many segments one PREPARE or outcome is written to, when their syncs fail. */
  private static final int COPIES_MAX = 2;

  /**
   * What the journal needs to know.
   *
   * @param node at most 255 bytes of UTF-8
   * @param segmentSize in bytes
   */
  record Settings(
      String node,
      long segmentSize,
      Durability durability,
      Ceiling.Limits limits,
      OutcomeStore outcomes,
      Clock clock) {}

  /** What has been written and may have to become durable: a segment up to its then end. */
  private record Place(Segment segment, long end, long transaction) {}

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition decided = lock.newCondition();

  private final Disk disk;
  private final Slot slot;
  private final Settings settings;
  private final Durability durability;
  private final Ceiling ceiling;
  private final Losses losses;
  private final SyncFailures syncFailures;
  private final long epoch;

  /** For records that are made under the lock. */
  private final byte[] scratch = new byte[GAP_LENGTH];

  private final Outcomes outcomes;

  /**
   * The segment that is written; {@code null} when the last one was sealed or abandoned and the
   * next not begun yet.
   */
  private Segment segment;

  /** Whether the last events that came found no room. */
  private boolean atCeiling;

  private int nextSegment;
  private long nextCommit = 1;
  private long nextTransaction = 1;
  private long lastGap = Long.MIN_VALUE / 2;

  /** How many transaction ids have a PREPARE and no outcome. */
  private int undecided;

  private boolean closing;
  private boolean closed;

  private Journal(
      Disk disk, Slot slot, Settings settings, Losses losses, Ceiling ceiling, long epoch) {
    this.disk = disk;
    this.slot = slot;
    this.settings = settings;
    this.durability = settings.durability();
    this.ceiling = ceiling;
    this.losses = losses;
    this.syncFailures = new SyncFailures(settings.clock());
    this.outcomes = new Outcomes(durability.awaitsOutcome());
    this.epoch = epoch;
  }

  /**
   * Takes a slot of the directory, settles what can be settled of its last epoch, and begins an
   * epoch and its first segment.
   */
  static Journal open(Disk disk, Path directory, Settings settings, Losses losses)
      throws IOException {
    Slot slot = Slot.claim(disk, directory.toAbsolutePath());
    try {
      if (settings.durability().syncs()) {
        slot.syncEntries();
      }
      Settlement.of(disk, slot, settings).run();
      Instant now = settings.clock().instant();
      long microseconds = TimeUnit.SECONDS.toMicros(now.getEpochSecond()) + now.getNano() / 1000;
      long epoch = slot.beginEpoch(microseconds);
      Ceiling ceiling = Ceiling.of(disk, slot.directory(), settings.limits(), settings.clock());
      Journal journal = new Journal(disk, slot, settings, losses, ceiling, epoch);
      journal.beginSegment();
      return journal;
    } catch (IOException e) {
      slot.close();
      throw e;
    }
  }

  Path slot() {
    return slot.directory();
  }

  long epoch() {
    return epoch;
  }

  /** How often a sync has failed, and what happened last. */
  SyncFailures.Report syncFailures() {
    return syncFailures.report();
  }

  /**
   * Appends the events as a PREPARE of the transaction, and returns when it is as durable as it
   * must be before the database commits. On success the buffer is emptied.
   */
  void prepare(JournalTransaction transaction, EventBuffer events) throws JournalException {
    byte[] bytes = events.complete();
    Place place;
    lock.lock();
    try {
      place = appendPrepare(transaction, events, bytes);
    } finally {
      lock.unlock();
    }
    if (durability.awaitsPrepare()) {
      awaitPrepare(transaction, events, bytes, place);
    }
    events.clear();
  }

  /** Appends the events and the transaction's COMMIT. On success the buffer is emptied. */
  void prepareAndCommit(JournalTransaction transaction, EventBuffer events)
      throws JournalException {
    if (durability.awaitsPrepare()) {
      prepare(transaction, events);
      commit(transaction);
    } else {
      prepareAndCommitAtOnce(transaction, events);
    }
  }

  /** By one write. */
  private void prepareAndCommitAtOnce(JournalTransaction transaction, EventBuffer events)
      throws JournalException {
    byte[] bytes = events.complete();
    int prepareLength = events.recordLength();
    lock.lock();
    try {
      admit(prepareLength + COMMIT_LENGTH);
      makeReady(prepareLength + COMMIT_LENGTH);
      long id = sealPrepare(transaction, events, bytes);
      sealCommit(bytes, prepareLength, id);
      long begin = segment.end();
      try {
        write(bytes, prepareLength, prepareLength + COMMIT_LENGTH);
        nextCommit++;
      } catch (JournalException e) {
        if (segment == null || segment.end() == begin) {
          disownTornPrepare(transaction, id);
          throw e;
        }
        // The PREPARE is whole: only its COMMIT is owed.
        outcomes.owe(RecordKind.COMMIT, id);
      }
      use(id);
      markDecided(transaction);
    } finally {
      lock.unlock();
    }
    events.clear();
  }

  private Place appendPrepare(JournalTransaction transaction, EventBuffer events, byte[] bytes)
      throws JournalException {
    int length = events.recordLength();
    admit(length);
    makeReady(length);
    long id = sealPrepare(transaction, events, bytes);
    write(bytes, length);
    markPrepared(transaction, id);
    return new Place(segment, segment.end(), id);
  }

  private void awaitPrepare(
      JournalTransaction transaction, EventBuffer events, byte[] bytes, Place first)
      throws JournalException {
    Place place = first;
    for (int copies = 1; ; copies++) {
      try {
        awaitDurable(place);
        return;
      } catch (JournalException e) {
        lock.lock();
        try {
          disown(transaction, place.transaction());
          if (copies == COPIES_MAX) {
            throw e;
          }
          place = appendPrepare(transaction, events, bytes);
        } finally {
          finishIfDue();
          lock.unlock();
        }
      }
    }
  }

  /** Syncs what has been written so far, if the disk does not know it yet. */
  void sync() throws JournalException {
    Place place;
    lock.lock();
    try {
      place = here();
    } finally {
      lock.unlock();
    }
    if (place != null) {
      awaitDurable(place);
    }
  }

  private Place here() {
    return segment == null ? null : new Place(segment, segment.end(), 0);
  }

  /** To be called without the lock, so that others may append meanwhile. */
  private void awaitDurable(Place place) throws JournalException {
    try {
      place.segment().awaitDurable(place.end());
      syncFailures.succeeded();
    } catch (IOException e) {
      lock.lock();
      try {
        throw abandon(place.segment(), e);
      } finally {
        lock.unlock();
      }
    }
  }

  /** After a failed sync: nothing more is written to the segment. */
  private JournalException abandon(Segment failed, IOException cause) {
    if (segment != failed) {
      return failed("force " + failed.path() + " to disk", cause);
    }
    outcomes.leave(failed);
    closeSegment();
    return syncFailures.add(failed.path(), cause);
  }

  /**
   * Gives the transaction its outcome COMMIT, if it has a PREPARE. What cannot be written now is
   * written later.
   */
  void commit(JournalTransaction transaction) {
    decide(transaction, RecordKind.COMMIT);
  }

  /**
   * Gives the transaction its outcome ABORT, if it has a PREPARE. What cannot be written now is
   * written later.
   */
  void abort(JournalTransaction transaction) {
    decide(transaction, RecordKind.ABORT);
  }

  /**
   * Writes the gap and the outcomes that could not be written before.
   *
   * @return whether there were any and events can be appended again
   */
  boolean settle() throws JournalException {
    lock.lock();
    try {
      if (closed || !hasUnsettled()) {
        return false;
      }
      makeReady(0);
      finishIfDue();
      return !atCeiling;
    } finally {
      lock.unlock();
    }
  }

  /**
   * Ends the epoch in order: waits until every transaction has its outcome, at most for {@code
   * graceMillis}, and writes CLOSE. If the time is over, the last outcome to come does it.
   *
   * @return whether the epoch has ended
   */
  boolean close(long graceMillis) {
    lock.lock();
    try {
      if (closed) {
        return true;
      }
      awaitOutcomes(graceMillis);
      closing = true;
      finishIfDue();
      return closed;
    } finally {
      lock.unlock();
    }
  }

  private void decide(JournalTransaction transaction, RecordKind outcome) {
    Place place;
    lock.lock();
    try {
      if (transaction.state != JournalTransaction.State.PREPARED || closed) {
        return;
      }
      transaction.ids.forEach(id -> outcomes.owe(outcome, id));
      markDecided(transaction);
      place = writeOutcomes();
    } finally {
      lock.unlock();
    }
    if (durability.awaitsOutcome()) {
      awaitOutcomes(place);
    }
  }

  /**
   * Writes the outcomes that are owed. What cannot be written is tried again with the next append
   * and by the background task.
   *
   * @return what has to become durable; {@code null} if nothing
   */
  private Place writeOutcomes() {
    try {
      makeReady(0);
      return here();
    } catch (JournalException e) {
      return null;
    } finally {
      finishIfDue();
    }
  }

  private void awaitOutcomes(Place first) {
    Place place = first;
    for (int copies = 1; place != null; copies++) {
      try {
        awaitDurable(place);
        return;
      } catch (JournalException e) {
        if (copies == COPIES_MAX) {
          return;
        }
        lock.lock();
        try {
          place = closed ? null : writeOutcomes();
        } finally {
          lock.unlock();
        }
      }
    }
  }

  /** A record with that id is perhaps in the journal. */
  private void use(long id) {
    nextTransaction = Math.max(nextTransaction, id + 1);
  }

  private void markPrepared(JournalTransaction transaction, long id) {
    use(id);
    if (!transaction.ids.contains(id)) {
      transaction.ids.add(id);
      undecided++;
    }
    transaction.state = JournalTransaction.State.PREPARED;
  }

  private void markDecided(JournalTransaction transaction) {
    undecided -= transaction.ids.size();
    transaction.ids.clear();
    decided.signalAll();
    transaction.state = JournalTransaction.State.DECIDED;
  }

  /** The PREPARE with that id may be readable or not: it is not to be published. */
  private void disown(JournalTransaction transaction, long id) {
    outcomes.owe(RecordKind.ABORT, id);
    transaction.ids.remove(id);
    undecided--;
    if (transaction.ids.isEmpty()) {
      transaction.state = JournalTransaction.State.UNKNOWN;
    }
    decided.signalAll();
  }

  private boolean hasUnsettled() {
    return !outcomes.isEmpty() || !losses.isEmpty();
  }

  private void admit(int length) throws JournalException {
    if (segment == null && !syncFailures.allowNextFile()) {
      throw new JournalException(GapCause.IO_ERROR, syncFailures.report().last());
    }
    atCeiling = true;
    ceiling.admit(length + owed());
    atCeiling = false;
  }

  /** The room that must stay for what the journal has yet to write, whatever its ceiling. */
  private long owed() {
    return GAP_LENGTH
        + ENDS_LENGTH
        + (undecided + 1L) * COMMIT_LENGTH
        + (long) outcomes.size() * REPEATED_COMMIT_LENGTH
        + Format.SEGMENT_HEADER_BASE
        + Format.NODE_NAME_MAX;
  }

  /**
   * After this the next write of {@code length} bytes goes into the segment, and nothing older is
   * owed to the journal.
   */
  private void makeReady(int length) throws JournalException {
    if (closed) {
      throw new JournalException(
          GapCause.IO_ERROR, "the journal is closed, because Keycloak is stopping");
    }
    if (hasUnsettled()) {
      if (mayTellGap()) {
        writeGap();
      }
      writeOwed();
    }
    if (length > 0) {
      makeRoom(length);
    }
  }

  /** At the ceiling a gap for every lost event would fill what is left. */
  private boolean mayTellGap() {
    return !atCeiling || now() - lastGap >= GAP_INTERVAL_MILLIS;
  }

  private void writeGap() throws JournalException {
    Losses.Report lost = losses.take();
    if (lost == null) {
      return;
    }
    try {
      makeRoom(GAP_LENGTH);
      Format.putLong(scratch, Format.RECORD_HEADER, lost.userEvents());
      Format.putLong(scratch, Format.RECORD_HEADER + 8, lost.adminEvents());
      Format.putLong(scratch, Format.RECORD_HEADER + 16, lost.first());
      Format.putLong(scratch, Format.RECORD_HEADER + 24, lost.last());
      Format.putLong(scratch, Format.RECORD_HEADER + 32, lost.cause().code);
      segment.seal(scratch, 0, RecordKind.GAP, Format.GAP_PAYLOAD, 0, now());
      write(scratch, GAP_LENGTH);
      lastGap = now();
    } catch (JournalException e) {
      losses.add(lost);
      throw e;
    }
  }

  private void writeOwed() throws JournalException {
    while (!outcomes.isEmpty()) {
      // Before the next outcome is looked at: to leave a segment may put others in front of it.
      makeRoom(REPEATED_COMMIT_LENGTH);
      Outcomes.Outcome outcome = outcomes.next();
      if (outcome.kind() == RecordKind.COMMIT) {
        write(scratch, sealOwedCommit(outcome));
        nextCommit++;
      } else {
        segment.seal(scratch, 0, outcome.kind(), 0, outcome.transaction(), now());
        write(scratch, Format.RECORD_HEADER);
      }
      outcomes.nextIsWritten(segment);
    }
  }

  private long sealPrepare(JournalTransaction transaction, EventBuffer events, byte[] bytes) {
    boolean own = durability.awaitsPrepare() || transaction.ids.isEmpty();
    long id = own ? nextTransaction : transaction.ids.get(0);
    segment.seal(bytes, 0, RecordKind.PREPARE, events.size(), id, now());
    return id;
  }

  /** Returns how long the record is. */
  private int sealOwedCommit(Outcomes.Outcome outcome) {
    if (!outcome.repeated()) {
      sealCommit(scratch, 0, outcome.transaction());
      return COMMIT_LENGTH;
    }
    int payload = Format.MARKED_COMMIT_PAYLOAD;
    Format.putLong(scratch, Format.RECORD_HEADER, nextCommit);
    Format.putLong(scratch, Format.RECORD_HEADER + 8, Format.REPEATED);
    segment.seal(scratch, 0, RecordKind.COMMIT, payload, outcome.transaction(), now());
    return REPEATED_COMMIT_LENGTH;
  }

  private void sealCommit(byte[] bytes, int at, long transaction) {
    Format.putLong(bytes, at + Format.RECORD_HEADER, nextCommit);
    segment.seal(bytes, at, RecordKind.COMMIT, Format.COMMIT_PAYLOAD, transaction, now());
  }

  /**
   * A write of PREPARE and COMMIT that failed may have left a whole PREPARE behind in an abandoned
   * segment. Its events will be reported as lost, so they must not be published as well. If the
   * transaction has other PREPAREs, its outcome is still to come and decides.
   */
  private void disownTornPrepare(JournalTransaction transaction, long id) {
    if (segment == null && transaction.state == JournalTransaction.State.UNKNOWN) {
      use(id);
      outcomes.owe(RecordKind.ABORT, id);
      transaction.state = JournalTransaction.State.DECIDED;
    }
  }

  private void makeRoom(int length) throws JournalException {
    if (segment != null && segment.hasFailed()) {
      leaveFailed();
    }
    if (segment != null && segment.isFullFor(length, settings.segmentSize())) {
      sealSegment();
    }
    if (segment == null) {
      beginNextSegment();
    }
  }

  /** A waiting thread has met the failure and not yet got the lock. */
  private void leaveFailed() {
    Segment failed = segment;
    try {
      failed.awaitDurable(failed.end());
    } catch (IOException e) {
      abandon(failed, e);
    }
  }

  private void sealSegment() throws JournalException {
    segment.seal(scratch, 0, RecordKind.SEAL, 0, 0, now());
    write(scratch, Format.RECORD_HEADER);
    leaveSegment();
  }

  /** Nothing of a later segment may become durable before all of this one is. */
  private void leaveSegment() {
    if (durability.syncs()) {
      Segment left = segment;
      try {
        left.awaitDurable(left.end());
      } catch (IOException e) {
        abandon(left, e);
        return;
      }
      outcomes.leave(left);
    }
    closeSegment();
  }

  private void beginNextSegment() throws JournalException {
    if (!syncFailures.allowNextFile()) {
      throw new JournalException(GapCause.IO_ERROR, syncFailures.report().last());
    }
    try {
      beginSegment();
    } catch (JournalException e) {
      throw e;
    } catch (IOException e) {
      throw failed("begin a segment in " + slot.directory(), e);
    }
  }

  private void beginSegment() throws IOException {
    Segment.Header header =
        new Segment.Header(epoch, nextSegment, nextCommit, now(), settings.node());
    segment = Segment.create(disk, slot.directory(), header);
    nextSegment++;
    ceiling.written(segment.headerLength());
    if (durability.syncs()) {
      syncEntry();
    }
  }

  /** Without its entry in the directory no byte of the segment would be found again. */
  private void syncEntry() throws JournalException {
    try {
      disk.syncDirectory(slot.directory());
    } catch (IOException e) {
      closeSegment();
      throw syncFailures.add(slot.directory(), e);
    }
  }

  private void write(byte[] bytes, int length) throws JournalException {
    write(bytes, length, length);
  }

  private void write(byte[] bytes, int first, int length) throws JournalException {
    Segment target = segment;
    try {
      target.append(bytes, first, length);
      ceiling.written(length);
    } catch (IOException e) {
      if (target.isTorn()) {
        leaveSegment();
      }
      throw failed("write to " + target.path(), e);
    }
  }

  private void closeSegment() {
    try {
      segment.close();
    } catch (IOException e) {
      // Every record has been written before: there is nothing that an error could still take back.
      segment = null;
      return;
    }
    segment = null;
  }

  private static JournalException failed(String what, IOException cause) {
    GapCause gapCause = GapCause.of(cause);
    String remedy =
        gapCause == GapCause.NO_SPACE
            ? "; free space on its disk, or choose another one with the option journal-dir"
            : "; check its disk, or choose another one with the option journal-dir";
    return new JournalException(
        gapCause, "cannot " + what + ": " + cause.getMessage() + remedy, cause);
  }

  private void awaitOutcomes(long graceMillis) {
    long left = TimeUnit.MILLISECONDS.toNanos(graceMillis);
    try {
      while (undecided > 0 && left > 0) {
        left = decided.awaitNanos(left);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void finishIfDue() {
    if (!closing || closed || undecided > 0) {
      return;
    }
    closed = true;
    try {
      writeGap();
      writeOwed();
      makeRoom(Format.RECORD_HEADER);
      segment.seal(scratch, 0, RecordKind.CLOSE, 0, 0, now());
      write(scratch, Format.RECORD_HEADER);
    } catch (JournalException e) {
      Log.JOURNAL.warnf(
          "The journal's epoch %016x ends without its closing record: %s. Transactions whose outcome is missing are in doubt.",
          epoch, e.getMessage());
    } finally {
      release();
    }
  }

  private void release() {
    try {
      if (segment != null) {
        leaveSegment();
      }
      slot.close();
    } catch (IOException e) {
      Log.JOURNAL.warnf(e, "Cannot give up the journal's slot %s", slot.directory());
    }
  }

  private long now() {
    return settings.clock().millis();
  }
}
