package org.keyferry.provider;

import java.util.List;

/** The path of what an administrator has changed: {@code users/<id>/role-mappings/realm}. */
final class ResourcePath {
  private final List<String> segments;

  /**
   * @param path may be {@code null}
   */
  ResourcePath(String path) {
    segments = path == null ? List.of() : List.of(path.split("/"));
  }

  /** What stands behind the first segment of this name; {@code null} if nothing does. */
  String idAfter(String name) {
    int at = segments.indexOf(name);
    return at >= 0 && at + 1 < segments.size() && !segments.get(at + 1).isEmpty()
        ? segments.get(at + 1)
        : null;
  }

  /** Whether roles are given to something, or taken from it. */
  boolean isMapping() {
    return segments.contains("role-mappings")
        || segments.contains("scope-mappings")
        || segments.contains("composites");
  }
}
