package org.keyferry.journal;

import java.nio.charset.StandardCharsets;

/** A node's name as a segment header can hold it. */
final class NodeName {
  private NodeName() {}

  /** The longest beginning of the name, in whole characters, that takes at most 255 bytes. */
  static String fitting(String name) {
    int end = name.length();
    while (name.substring(0, end).getBytes(StandardCharsets.UTF_8).length > Format.NODE_NAME_MAX) {
      end = name.offsetByCodePoints(end, -1);
    }
    return name.substring(0, end);
  }
}
