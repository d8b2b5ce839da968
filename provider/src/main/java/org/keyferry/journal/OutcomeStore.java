package org.keyferry.journal;

import java.util.List;

/** Knows of some transactions, by their events, whether their database committed. */
@FunctionalInterface
public interface OutcomeStore {
  /** What became of a transaction. */
  enum Verdict {
    /** The database committed. */
    COMMITTED,
    /** The database did not commit and will not. */
    ABORTED,
    /** It cannot be told: the transaction stays in doubt. */
    UNKNOWN
  }

  /** Knows nothing. */
  OutcomeStore NONE = events -> Verdict.UNKNOWN;

  /**
   * What became of the transaction that raised these events. An exception counts as {@link
   * Verdict#UNKNOWN}.
   */
  Verdict outcomeOf(List<EventReference> events);
}
