package org.keyferry.journal;

import java.io.IOException;
import java.util.List;
import java.util.Map;

/**
 * Gives the transactions that the slot's last epoch left without outcome the one that the database
 * knows of, before the next epoch begins and leaves them in doubt for good.
 *
 * <p>Invariant: an outcome is written only if it is known. Whatever goes wrong leaves the
 * transaction in doubt, and never keeps the journal from being opened.
 */
final class Settlement {
  private final Disk disk;
  private final Slot slot;
  private final Journal.Settings settings;
  private final byte[] scratch = new byte[Format.recordLength(Format.MARKED_COMMIT_PAYLOAD)];

  private Settlement(Disk disk, Slot slot, Journal.Settings settings) {
    this.disk = disk;
    this.slot = slot;
    this.settings = settings;
  }

  static Settlement of(Disk disk, Slot slot, Journal.Settings settings) {
    return new Settlement(disk, slot, settings);
  }

  void run() {
    if (settings.outcomes() == OutcomeStore.NONE) {
      return;
    }
    try {
      LastEpoch last = LastEpoch.read(disk, slot);
      if (last == null) {
        return;
      }
      if (last.damage() != null) {
        Log.JOURNAL.warnf(
            "The transactions that the journal's last epoch %016x left without outcome stay in doubt: %s. `keyferry journal"
                + " check %s` tells more.",
            last.epoch(), last.damage(), slot.directory());
        return;
      }
      if (!last.undecided().isEmpty()) {
        settle(last);
      }
    } catch (IOException | RuntimeException e) {
      Log.JOURNAL.errorf(
          e,
          "Cannot settle what the journal's last epoch in %s left without outcome; it stays in doubt",
          slot.directory());
    }
  }

  private void settle(LastEpoch last) throws IOException {
    int committed = 0;
    int aborted = 0;
    long nextCommit = numberAfterAll(last.nextCommit());
    Segment segment = null;
    try {
      for (Map.Entry<Long, List<EventReference>> transaction : last.undecided().entrySet()) {
        OutcomeStore.Verdict verdict = verdict(transaction.getValue());
        if (verdict == OutcomeStore.Verdict.UNKNOWN) {
          continue;
        }
        if (segment == null) {
          segment = open(last);
        }
        if (verdict == OutcomeStore.Verdict.COMMITTED) {
          commit(segment, transaction.getKey(), nextCommit++);
          committed++;
        } else {
          abort(segment, transaction.getKey());
          aborted++;
        }
      }
      if (segment != null && settings.durability().syncs()) {
        segment.awaitDurable(segment.end());
        disk.syncDirectory(slot.directory());
      }
    } finally {
      if (segment != null) {
        segment.close();
      }
    }
    Log.JOURNAL.infof(
        "Of %d transactions that the last epoch %016x left without outcome, the event store knows %d as committed and %d as"
            + " not committed; %d stay in doubt.",
        last.undecided().size(),
        last.epoch(),
        committed,
        aborted,
        last.undecided().size() - committed - aborted);
  }

  private OutcomeStore.Verdict verdict(List<EventReference> events) {
    try {
      return settings.outcomes().outcomeOf(events);
    } catch (RuntimeException e) {
      Log.JOURNAL.warn("The event store cannot be asked for a transaction; it stays in doubt", e);
      return OutcomeStore.Verdict.UNKNOWN;
    }
  }

  /** The epoch's last segment, or one more if that is sealed. */
  private Segment open(LastEpoch last) throws IOException {
    int number = last.isSealed() ? last.lastNumber() + 1 : last.lastNumber();
    Segment.Header header =
        new Segment.Header(
            last.epoch(), number, last.nextCommit(), settings.clock().millis(), settings.node());
    return last.isSealed()
        ? Segment.create(disk, slot.directory(), header)
        : Segment.reopen(
            disk,
            slot.directory().resolve(Format.segmentName(last.epoch(), number)),
            header,
            last.end());
  }

  /**
   * A power cut may have taken COMMITs that were delivered, so that a number which seems to be the
   * next may have been used, and the place where this one comes to stand may have been read.
   */
  private static long numberAfterAll(long next) {
    return (next / Format.COMMIT_STRIDE + 1) * Format.COMMIT_STRIDE;
  }

  private void commit(Segment segment, long transaction, long number) throws IOException {
    Format.putLong(scratch, Format.RECORD_HEADER, number);
    Format.putLong(scratch, Format.RECORD_HEADER + 8, Format.SETTLED);
    append(segment, RecordKind.COMMIT, Format.MARKED_COMMIT_PAYLOAD, transaction);
  }

  private void abort(Segment segment, long transaction) throws IOException {
    append(segment, RecordKind.ABORT, 0, transaction);
  }

  private void append(Segment segment, RecordKind kind, int payload, long transaction)
      throws IOException {
    segment.seal(scratch, 0, kind, payload, transaction, settings.clock().millis());
    int length = Format.recordLength(payload);
    segment.append(scratch, length, length);
  }
}
