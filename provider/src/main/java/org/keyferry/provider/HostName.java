package org.keyferry.provider;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** This host's name, found without asking the network. */
final class HostName {
  private static final Path KERNEL = Path.of("/proc/sys/kernel/hostname");

  private HostName() {}

  static String find(Map<String, String> environment) {
    try {
      return Files.readString(KERNEL).strip();
    } catch (IOException e) {
      return environment.getOrDefault("HOSTNAME", "keycloak");
    }
  }
}
