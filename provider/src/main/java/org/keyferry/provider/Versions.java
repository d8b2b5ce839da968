package org.keyferry.provider;

import org.keycloak.common.Version;

/** Which versions meet here. */
final class Versions {
  private Versions() {}

  /** The provider's, as the jar's manifest says. */
  static String provider() {
    String version = Versions.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }

  static String keycloak() {
    return Version.VERSION;
  }
}
