package org.keyferry.journal;

import java.util.ArrayList;
import java.util.List;

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

  /** Under which its PREPAREs stand in the journal, in the order of the events. */
  final List<Long> ids = new ArrayList<>(1);

  State state = State.UNKNOWN;
}
