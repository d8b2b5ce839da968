package org.keyferry.agent;

import java.util.List;
import java.util.Map;
import java.util.Set;

/** Which variables of Keycloak's environment the agent gets: only those that it has a use for. */
final class AgentEnvironment {
  private static final Set<String> NAMES =
      Set.of("PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR");

  private static final List<String> PREFIXES =
      List.of("LC_", "KRB5", "AWS_", "RUST_", "KAFKA_", "KEYFERRY_");

  private AgentEnvironment() {}

  static boolean passes(String name) {
    return NAMES.contains(name) || PREFIXES.stream().anyMatch(name::startsWith);
  }

  /** Removes what does not pass. */
  static void filter(Map<String, String> environment) {
    environment.keySet().removeIf(name -> !passes(name));
  }
}
