package org.keyferry.journal;

/** The fields that stand beside an event's body, in the order of their tags. */
public enum Field {
  ID(1),
  TYPE(2),
  REALM_ID(3),
  REALM_NAME(4),
  CLIENT(5),
  USER_ID(6),
  RESOURCE_TYPE(7),
  RESOURCE_PATH(8),
  ERROR(9),
  TRACEPARENT(10);

  final int tag;

  Field(int tag) {
    this.tag = tag;
  }
}
