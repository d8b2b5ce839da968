package org.keyferry.journal;

/**
 * A transaction as the journal knows it. Its state belongs to the journal and is guarded by the
 * journal's lock.
 */
public final class JournalTransaction {
  /** What the journal holds of the transaction. */
  enum State {
    /** No record. */
    UNKNOWN,
    /** At least one PREPARE and no outcome. */
    PREPARED,
    /** An outcome, perhaps not on disk yet. */
    DECIDED
  }

  long id;
  State state = State.UNKNOWN;
}
