package org.keyferry.journal;

import java.util.Arrays;

/** The kinds of records. */
enum RecordKind {
  PREPARE(1),
  COMMIT(2),
  ABORT(3),
  SEAL(4),
  CLOSE(5),
  GAP(6);

  final int code;

  RecordKind(int code) {
    this.code = code;
  }

  static boolean isKnown(int code) {
    return Arrays.stream(values()).anyMatch(kind -> kind.code == code);
  }
}
