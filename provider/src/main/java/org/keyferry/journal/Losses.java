package org.keyferry.journal;

import java.util.concurrent.atomic.AtomicReference;

/**
 * The events that could not be journaled and that no gap record tells of yet. Safe for use by many
 * threads.
 */
final class Losses {
  /** So many events, raised between two times, and why the last of them was lost. */
  record Report(long userEvents, long adminEvents, long first, long last, GapCause cause) {
    Report plus(Report later) {
      return new Report(
          userEvents + later.userEvents,
          adminEvents + later.adminEvents,
          Math.min(first, later.first),
          Math.max(last, later.last),
          later.cause);
    }
  }

  private final AtomicReference<Report> unreported = new AtomicReference<>();

  void add(Report lost) {
    unreported.accumulateAndGet(lost, (known, more) -> known == null ? more : known.plus(more));
  }

  boolean isEmpty() {
    return unreported.get() == null;
  }

  /**
   * Takes what there is to report; {@code null} if nothing. What cannot be reported after all is to
   * be added again.
   */
  Report take() {
    return unreported.getAndSet(null);
  }
}
