package org.keyferry.provider;

import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Set;
import java.util.function.Consumer;
import org.keycloak.events.EventType;

/**
 * Which events are journaled.
 *
 * @param types the types of user events
 * @param adminEvents whether admin events are
 */
record EventFilter(Set<EventType> types, boolean adminEvents) {
  /** All types of user events. */
  static Set<EventType> allTypes() {
    return Collections.unmodifiableSet(EnumSet.allOf(EventType.class));
  }

  /**
   * The types that a comma-separated list names. Each name that is no type is reported with the
   * nearest one.
   */
  static Set<EventType> types(String list, Consumer<String> problems) {
    Set<EventType> types = EnumSet.noneOf(EventType.class);
    for (String item : list.split(",")) {
      String name = item.strip().toUpperCase(Locale.ROOT);
      if (name.isEmpty()) {
        continue;
      }
      EventType type = named(name);
      if (type == null) {
        problems.accept(
            String.format(
                "the option events names '%s', which is no type of Keycloak's events; did you mean %s?",
                item.strip(), nearest(name)));
      } else {
        types.add(type);
      }
    }
    return Collections.unmodifiableSet(types);
  }

  private static EventType named(String name) {
    return Arrays.stream(EventType.values())
        .filter(type -> type.name().equals(name))
        .findAny()
        .orElse(null);
  }

  private static EventType nearest(String name) {
    return Arrays.stream(EventType.values())
        .min(Comparator.comparingInt(type -> distance(name, type.name())))
        .orElseThrow();
  }

  /**
   * How many letters must be inserted, deleted or replaced to make one of the other (Levenshtein).
   */
  private static int distance(String from, String to) {
    int[] row = new int[to.length() + 1];
    for (int j = 0; j <= to.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= from.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= to.length(); j++) {
        int replaced = diagonal + (from.charAt(i - 1) == to.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(replaced, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[to.length()];
  }
}
