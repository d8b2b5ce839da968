package org.keyferry.journal;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Deque;
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
 */
final class Journal {
  private static final int COMMIT_LENGTH = Format.recordLength(Format.COMMIT_PAYLOAD);
  private static final int GAP_LENGTH = Format.recordLength(Format.GAP_PAYLOAD);

  /**
   * What the journal needs to know.
   *
   * @param segmentSize in bytes
   * @param node at most 255 bytes of UTF-8
   */
  record Settings(String node, long segmentSize, Clock clock) {}

  private record Outcome(RecordKind kind, long transaction) {}

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition decided = lock.newCondition();

  private final Disk disk;
  private final Slot slot;
  private final Settings settings;
  private final Losses losses;
  private final long epoch;

  /** For records that are made under the lock. */
  private final byte[] scratch = new byte[GAP_LENGTH];

  private final Deque<Outcome> pending = new ArrayDeque<>();

  /**
   * The segment that is written; {@code null} when the last one was sealed or abandoned and the
   * next not begun yet.
   */
  private Segment segment;

  private int nextSegment;
  private long nextCommit = 1;
  private long nextTransaction = 1;
  private int undecided;
  private boolean closing;
  private boolean closed;

  private Journal(Disk disk, Slot slot, Settings settings, Losses losses, long epoch) {
    this.disk = disk;
    this.slot = slot;
    this.settings = settings;
    this.losses = losses;
    this.epoch = epoch;
  }

  /** Takes a slot of the directory and begins an epoch and its first segment. */
  static Journal open(Disk disk, Path directory, Settings settings, Losses losses)
      throws IOException {
    Slot slot = Slot.claim(disk, directory.toAbsolutePath());
    try {
      Instant now = settings.clock().instant();
      long microseconds = TimeUnit.SECONDS.toMicros(now.getEpochSecond()) + now.getNano() / 1000;
      Journal journal = new Journal(disk, slot, settings, losses, slot.nextEpoch(microseconds));
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

  /** Appends the events as a PREPARE of the transaction. On success the buffer is emptied. */
  void prepare(JournalTransaction transaction, EventBuffer events) throws JournalException {
    byte[] bytes = events.complete();
    int length = events.recordLength();
    lock.lock();
    try {
      makeReady(length);
      sealPrepare(transaction, events, bytes);
      write(bytes, length);
      markPrepared(transaction);
    } finally {
      lock.unlock();
    }
    events.clear();
  }

  /**
   * Appends the events and the transaction's COMMIT by one write. On success the buffer is emptied.
   */
  void prepareAndCommit(JournalTransaction transaction, EventBuffer events)
      throws JournalException {
    byte[] bytes = events.complete();
    int prepareLength = events.recordLength();
    lock.lock();
    try {
      makeReady(prepareLength + COMMIT_LENGTH);
      sealPrepare(transaction, events, bytes);
      sealCommit(bytes, prepareLength, transaction.id);
      long begin = segment.end();
      try {
        write(bytes, prepareLength, prepareLength + COMMIT_LENGTH);
        nextCommit++;
      } catch (JournalException e) {
        if (segment == null || segment.end() == begin) {
          disownTornPrepare(transaction);
          throw e;
        }
        // The PREPARE is whole: only its COMMIT is owed.
        pending.addLast(new Outcome(RecordKind.COMMIT, transaction.id));
      }
      markDecided(transaction);
    } finally {
      lock.unlock();
    }
    events.clear();
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
   * @return whether there were any
   */
  boolean settle() throws JournalException {
    lock.lock();
    try {
      if (closed || !hasUnsettled()) {
        return false;
      }
      makeReady(0);
      finishIfDue();
      return true;
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
    lock.lock();
    try {
      if (transaction.state != JournalTransaction.State.PREPARED || closed) {
        return;
      }
      pending.addLast(new Outcome(outcome, transaction.id));
      markDecided(transaction);
      try {
        makeReady(0);
      } catch (JournalException e) {
        // The outcome stays pending; the next append and the background task write it.
        return;
      } finally {
        finishIfDue();
      }
    } finally {
      lock.unlock();
    }
  }

  private void markPrepared(JournalTransaction transaction) {
    if (transaction.state == JournalTransaction.State.UNKNOWN) {
      transaction.state = JournalTransaction.State.PREPARED;
      undecided++;
    }
  }

  private void markDecided(JournalTransaction transaction) {
    if (transaction.state == JournalTransaction.State.PREPARED) {
      undecided--;
      decided.signalAll();
    }
    transaction.state = JournalTransaction.State.DECIDED;
  }

  private boolean hasUnsettled() {
    return !pending.isEmpty() || !losses.isEmpty();
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
      writeGap();
      writePending();
    }
    if (length > 0) {
      makeRoom(length);
    }
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
    } catch (JournalException e) {
      losses.add(lost);
      throw e;
    }
  }

  private void writePending() throws JournalException {
    while (!pending.isEmpty()) {
      Outcome outcome = pending.peekFirst();
      if (outcome.kind() == RecordKind.COMMIT) {
        makeRoom(COMMIT_LENGTH);
        sealCommit(scratch, 0, outcome.transaction());
        write(scratch, COMMIT_LENGTH);
        nextCommit++;
      } else {
        makeRoom(Format.RECORD_HEADER);
        segment.seal(scratch, 0, outcome.kind(), 0, outcome.transaction(), now());
        write(scratch, Format.RECORD_HEADER);
      }
      pending.removeFirst();
    }
  }

  private void sealPrepare(JournalTransaction transaction, EventBuffer events, byte[] bytes) {
    if (transaction.id == 0) {
      transaction.id = nextTransaction++;
    }
    segment.seal(bytes, 0, RecordKind.PREPARE, events.size(), transaction.id, now());
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
  private void disownTornPrepare(JournalTransaction transaction) {
    if (segment == null && transaction.state == JournalTransaction.State.UNKNOWN) {
      pending.addLast(new Outcome(RecordKind.ABORT, transaction.id));
      transaction.state = JournalTransaction.State.DECIDED;
    }
  }

  private void makeRoom(int length) throws JournalException {
    if (segment != null && segment.isFullFor(length, settings.segmentSize())) {
      sealSegment();
    }
    if (segment == null) {
      try {
        beginSegment();
      } catch (IOException e) {
        throw failed("begin a segment in " + slot.directory(), e);
      }
    }
  }

  private void sealSegment() throws JournalException {
    segment.seal(scratch, 0, RecordKind.SEAL, 0, 0, now());
    write(scratch, Format.RECORD_HEADER);
    closeSegment();
  }

  private void beginSegment() throws IOException {
    Segment.Header header =
        new Segment.Header(epoch, nextSegment, nextCommit, now(), settings.node());
    segment = Segment.create(disk, slot.directory(), header);
    nextSegment++;
  }

  private void write(byte[] bytes, int length) throws JournalException {
    write(bytes, length, length);
  }

  private void write(byte[] bytes, int first, int length) throws JournalException {
    Segment target = segment;
    try {
      target.append(bytes, first, length);
    } catch (IOException e) {
      if (target.isTorn()) {
        segment = null;
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
      if (hasUnsettled()) {
        writeGap();
        writePending();
      }
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
        closeSegment();
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
