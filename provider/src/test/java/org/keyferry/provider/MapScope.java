package org.keyferry.provider;

import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.keycloak.Config;

/**
 * A scope that finds and lists options as that of Keycloak's Quarkus distribution does: it finds
 * those with either prefix, by their names in kebab case, and lists those with the newer prefix,
 * under their full names.
 */
final class MapScope implements Config.Scope {
  private static final String NEW_PREFIX = "kc.spi-events-listener--kafka--";
  private static final String OLD_PREFIX = "kc.spi-events-listener-kafka-";

  private final Map<String, String> properties;
  private final boolean root;

  private MapScope(Map<String, String> properties, boolean root) {
    this.properties = properties;
    this.root = root;
  }

  /** A scope over all of Keycloak's properties, under their full names. */
  static MapScope of(Map<String, String> properties) {
    return new MapScope(properties, false);
  }

  /** A scope over options without prefix. */
  static MapScope options(Map<String, String> options) {
    return of(
        options.entrySet().stream()
            .collect(Collectors.toMap(e -> NEW_PREFIX + e.getKey(), Map.Entry::getValue)));
  }

  @Override
  public String get(String key) {
    if (root) {
      return properties.get("kc." + key);
    }
    String kebab = key.replaceAll("([a-z0-9])([A-Z])", "$1-$2").toLowerCase(Locale.ROOT);
    String value = properties.get(NEW_PREFIX + kebab);
    return value != null ? value : properties.get(OLD_PREFIX + kebab);
  }

  @Override
  public String get(String key, String defaultValue) {
    String value = get(key);
    return value == null ? defaultValue : value;
  }

  @Override
  public String[] getArray(String key) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Integer getInt(String key) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Integer getInt(String key, Integer defaultValue) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Long getLong(String key) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Long getLong(String key, Long defaultValue) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Boolean getBoolean(String key) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Boolean getBoolean(String key, Boolean defaultValue) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Config.Scope scope(String... scope) {
    throw new UnsupportedOperationException();
  }

  @Deprecated
  @Override
  public Set<String> getPropertyNames() {
    String prefix = root ? "kc." : NEW_PREFIX;
    return properties.keySet().stream()
        .filter(name -> name.startsWith(prefix))
        .collect(Collectors.toSet());
  }

  @Override
  public Config.Scope root() {
    return new MapScope(properties, true);
  }
}
