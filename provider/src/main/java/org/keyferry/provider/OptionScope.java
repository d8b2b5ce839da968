package org.keyferry.provider;

import java.util.Collections;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.keycloak.Config;

/**
 * The options as Keycloak gives them, under one spelling: kebab case, without prefix, blank ones
 * left out.
 *
 * <p>Keycloak finds an option by its name whatever prefix it was given with, but lists only those
 * with its newer prefix. Names are therefore taken from three places: the described options, the
 * scope's list, and the list of all of Keycloak's options.
 */
final class OptionScope {
  private static final String NEW_PREFIX = "kc.spi-events-listener--kafka--";
  private static final String OLD_PREFIX = "kc.spi-events-listener-kafka-";
  private static final String KEYCLOAK = "kc.";
  private static final Pattern HUMP = Pattern.compile("(?<=[a-z0-9])(?=[A-Z])");

  private OptionScope() {}

  /** Reads all options that have a value. */
  static Map<String, String> read(Config.Scope scope, Set<String> described) {
    Map<String, String> options = new TreeMap<>();
    for (String name : described) {
      put(options, name, scope.get(name));
    }
    for (String listed : namesOf(scope)) {
      putListed(options, scope, listed);
    }
    Config.Scope root = rootOf(scope);
    if (root != null) {
      for (String listed : namesOf(root)) {
        if (listed.startsWith(NEW_PREFIX) || listed.startsWith(OLD_PREFIX)) {
          putListed(options, scope, listed);
          put(options, kebab(listed), root.get(listed.substring(KEYCLOAK.length())));
        }
      }
    }
    return Collections.unmodifiableMap(options);
  }

  private static void putListed(Map<String, String> options, Config.Scope scope, String listed) {
    String name = kebab(listed);
    put(options, name, scope.get(name));
  }

  private static void put(Map<String, String> options, String name, String value) {
    if (value != null && !value.isBlank()) {
      options.putIfAbsent(name, value);
    }
  }

  /** {@code topicEvents}, or the same with one of Keycloak's prefixes, as {@code topic-events}. */
  static String kebab(String listed) {
    String name = listed;
    if (name.startsWith(NEW_PREFIX)) {
      name = name.substring(NEW_PREFIX.length());
    } else if (name.startsWith(OLD_PREFIX)) {
      name = name.substring(OLD_PREFIX.length());
    }
    return HUMP.matcher(name.replace('.', '-').replace('_', '-'))
        .replaceAll("-")
        .toLowerCase(Locale.ROOT);
  }

  // Keycloak marks it as deprecated because it was once meant for tests; there is no other way to
  // see the names.
  @SuppressWarnings("deprecation")
  private static Set<String> namesOf(Config.Scope scope) {
    try {
      return new TreeSet<>(scope.getPropertyNames());
    } catch (UnsupportedOperationException e) {
      return Set.of();
    }
  }

  private static Config.Scope rootOf(Config.Scope scope) {
    try {
      return scope.root();
    } catch (UnsupportedOperationException e) {
      return null;
    }
  }
}
