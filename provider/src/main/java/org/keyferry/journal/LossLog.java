package org.keyferry.journal;

import java.time.Clock;

/**
 * Reports lost events in the log: the first at once, those that follow summed up, at most one error
 * in half a minute.
 */
final class LossLog {
  private static final long INTERVAL_MILLIS = 30_000;

  private final Clock clock;
  private long userEvents;
  private long adminEvents;
  private String cause;
  private long quietUntil = Long.MIN_VALUE;

  LossLog(Clock clock) {
    this.clock = clock;
  }

  synchronized void add(Losses.Report lost, String cause) {
    userEvents += lost.userEvents();
    adminEvents += lost.adminEvents();
    this.cause = cause;
    reportIfDue();
  }

  synchronized void reportIfDue() {
    if (clock.millis() >= quietUntil) {
      reportNow();
    }
  }

  synchronized void reportNow() {
    if (userEvents + adminEvents == 0) {
      return;
    }
    Log.JOURNAL.errorf(
        "%d user events and %d admin events were lost: %s. The journal will tell of the gap as soon as it can be written.",
        userEvents, adminEvents, cause);
    userEvents = 0;
    adminEvents = 0;
    quietUntil = clock.millis() + INTERVAL_MILLIS;
  }
}
