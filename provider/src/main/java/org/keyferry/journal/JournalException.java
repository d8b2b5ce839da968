package org.keyferry.journal;

import java.io.IOException;

/** Something could not be journaled. The message names the place, the cause and the remedy. */
public final class JournalException extends IOException {
  private static final long serialVersionUID = 1L;

  private final GapCause gapCause;

  JournalException(GapCause gapCause, String message) {
    super(message);
    this.gapCause = gapCause;
  }

  JournalException(GapCause gapCause, String message, Exception cause) {
    super(message, cause);
    this.gapCause = gapCause;
  }

  /** The cause as a gap record gives it. */
  public GapCause gapCause() {
    return gapCause;
  }
}
