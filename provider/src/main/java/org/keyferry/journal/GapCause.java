package org.keyferry.journal;

import java.io.IOException;
import java.util.Locale;

/** Why events could not be journaled. */
public enum GapCause {
  NO_SPACE(1, "no space on the device"),
  CEILING(2, "the journal's ceiling is reached"),
  IO_ERROR(3, "input/output error"),
  TOO_LARGE(4, "event larger than a record can be");

  final int code;
  private final String words;

  GapCause(int code, String words) {
    this.code = code;
    this.words = words;
  }

  /** The cause behind an error of the file system, which Java tells only by its message. */
  static GapCause of(IOException error) {
    String message = String.valueOf(error.getMessage()).toLowerCase(Locale.ROOT);
    boolean full = message.contains("no space left") || message.contains("quota exceeded");
    return full ? NO_SPACE : IO_ERROR;
  }

  @Override
  public String toString() {
    return words;
  }
}
