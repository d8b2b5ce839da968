package org.keyferry.journal;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;

/**
 * The outcomes that the journal owes to its transactions, in the order in which they were given. To
 * be used under the journal's lock.
 *
 * <p>Invariant: an outcome leaves only when it has been written; where outcomes must be durable, it
 * comes back if its segment's sync fails before it was. A COMMIT says that it is a second copy, so
 * that a reader which has had the first one does not miss the transaction's events.
 */
final class Outcomes {
  /**
   * An outcome of a transaction.
   *
   * @param repeated whether it has been written before and may be readable there
   */
  record Outcome(RecordKind kind, long transaction, boolean repeated) {
    private Outcome again() {
      return new Outcome(kind, transaction, true);
    }
  }

  private record Written(Outcome outcome, long end) {}

  private final boolean mustBeDurable;
  private final Deque<Outcome> owed = new ArrayDeque<>();

  /** Those in the current segment that are perhaps not durable. */
  private final Deque<Written> written = new ArrayDeque<>();

  Outcomes(boolean mustBeDurable) {
    this.mustBeDurable = mustBeDurable;
  }

  void owe(RecordKind kind, long transaction) {
    owed.addLast(new Outcome(kind, transaction, false));
  }

  /** The one to be written next; {@code null} if none is owed. */
  Outcome next() {
    return owed.peekFirst();
  }

  boolean isEmpty() {
    return owed.isEmpty();
  }

  int size() {
    return owed.size();
  }

  /** The next one has been written into the segment, which it made that long. */
  void nextIsWritten(Segment segment) {
    written(owed.removeFirst(), segment);
  }

  /** An outcome that was not owed before has been written into the segment. */
  void written(Outcome outcome, Segment segment) {
    if (!mustBeDurable) {
      return;
    }
    while (!written.isEmpty() && written.peekFirst().end() <= segment.durable()) {
      written.removeFirst();
    }
    written.addLast(new Written(outcome, segment.end()));
  }

  /** The segment takes nothing more: what was written into it and is not durable is owed again. */
  void leave(Segment segment) {
    for (Iterator<Written> last = written.descendingIterator(); last.hasNext(); ) {
      Written each = last.next();
      if (each.end() > segment.durable()) {
        owed.addFirst(each.outcome().again());
      }
    }
    written.clear();
  }
}
