package org.keyferry.journal;

import java.time.Duration;

/**
 * How much of the journal survives a power cut.
 *
 * @param fsync when the journal is forced to disk
 * @param interval how long a record may wait for that at most, where no transaction waits for it;
 *     not used with {@link Fsync#NEVER}
 * @param outcomes whether a transaction's end, too, waits until its outcome is on disk; only used
 *     with {@link Fsync#COMMIT}
 */
public record Durability(Fsync fsync, Duration interval, boolean outcomes) {
  /** When the journal is forced to disk. */
  public enum Fsync {
    /** Never: it survives the end of any process, but not a power cut. */
    NEVER,
    /** After an interval: a power cut takes at most what was written in the last one. */
    INTERVAL,
    /** Before the database commits. */
    COMMIT
  }

  /** Nothing is forced to disk. */
  public static final Durability NONE = new Durability(Fsync.NEVER, Duration.ZERO, false);

  boolean syncs() {
    return fsync != Fsync.NEVER;
  }

  boolean awaitsPrepare() {
    return fsync == Fsync.COMMIT;
  }

  boolean awaitsOutcome() {
    return fsync == Fsync.COMMIT && outcomes;
  }
}
