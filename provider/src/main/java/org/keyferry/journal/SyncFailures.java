package org.keyferry.journal;

import java.nio.file.Path;
import java.time.Clock;

/**
 * The syncs that failed, and when the journal may try another file after them.
 *
 * <p>One failure may be one bad block: the next segment is begun at once. A second one in a row is
 * a failing disk, on which every attempt would leave a file behind: the pause before the next
 * attempt is doubled each time.
 */
final class SyncFailures {
  private static final long PAUSE_MIN_MILLIS = 1_000;
  private static final long PAUSE_MAX_MILLIS = 32_000;

  /** How often, and what happened last; {@code null} if nothing has. */
  record Report(long count, String last) {}

  private final Clock clock;
  private long count;
  private String last;
  private int inARow;
  private long since;

  SyncFailures(Clock clock) {
    this.clock = clock;
  }

  /** Reports a sync that failed and makes the message for those who waited for it. */
  synchronized JournalException add(Path path, Exception cause) {
    String what =
        String.format(
            "cannot force %s to disk: %s; it is not written any more, what waited for it is written to the next file;"
                + " check the disk (the kernel's log tells more) and replace it, or choose another one with the option"
                + " journal-dir",
            path, cause.getMessage());
    count++;
    inARow++;
    since = clock.millis();
    last = clock.instant() + ": " + what;
    Log.JOURNAL.errorf("Failed fsync number %d of the journal: %s", count, what);
    return new JournalException(GapCause.IO_ERROR, what, cause);
  }

  synchronized void succeeded() {
    inARow = 0;
  }

  synchronized boolean allowNextFile() {
    if (inARow < 2) {
      return true;
    }
    long pause = Math.min(PAUSE_MAX_MILLIS, PAUSE_MIN_MILLIS << Math.min(inARow - 2, 10));
    return Math.abs(clock.millis() - since) >= pause;
  }

  synchronized Report report() {
    return new Report(count, last);
  }
}
