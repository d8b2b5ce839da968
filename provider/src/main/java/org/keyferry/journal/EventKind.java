package org.keyferry.journal;

/** What an event is about: what users do, or what administrators do. */
public enum EventKind {
  USER(1),
  ADMIN(2);

  final int code;

  EventKind(int code) {
    this.code = code;
  }
}
