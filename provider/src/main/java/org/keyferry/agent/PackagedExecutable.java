package org.keyferry.agent;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * The executable that the jar carries for this platform.
 *
 * <p>It is unpacked under a name that contains its hash, and the hash is checked before each start:
 * what runs is what the jar holds, also after an upgrade, a torn copy, or a second Keycloak that
 * unpacks at the same time.
 */
public final class PackagedExecutable implements Executable {
  private static final String PLACE = "/META-INF/keyferry/agent/";
  private static final Pattern SHA_256 = Pattern.compile("[0-9a-f]{64}");
  private static final int NAME_DIGITS = 16;

  private static final FileAttribute<Set<PosixFilePermission>> PRIVATE =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));

  private final Path directory;
  private final String platform;
  private final Class<?> resources;

  /**
   * @param journal the journal directory, in whose {@code bin} the executable is unpacked
   */
  public PackagedExecutable(Path journal) {
    this(journal, thisPlatform(), PackagedExecutable.class);
  }

  PackagedExecutable(Path journal, String platform, Class<?> resources) {
    this.directory = journal.toAbsolutePath().resolve("bin");
    this.platform = platform;
    this.resources = resources;
  }

  private static String thisPlatform() {
    String system = System.getProperty("os.name").toLowerCase(Locale.ROOT).replace(' ', '-');
    String processor = System.getProperty("os.arch");
    return system + "-" + (processor.equals("amd64") ? "x86_64" : processor);
  }

  @Override
  public Path locate() throws AgentException, IOException {
    String expected = expectedHash();
    Path executable = directory.resolve("keyferry-" + expected.substring(0, NAME_DIGITS));
    if (!Files.isExecutable(executable) || !hashOf(executable).equals(expected)) {
      unpack(executable, expected);
    }
    return executable;
  }

  private String expectedHash() throws AgentException, IOException {
    try (InputStream stream = open("keyferry.sha256")) {
      String hash = new String(stream.readAllBytes(), StandardCharsets.US_ASCII).strip();
      if (!SHA_256.matcher(hash).matches()) {
        throw new AgentException(
            "the checksum of the agent in the jar is damaged; copy the jar anew");
      }
      return hash;
    }
  }

  private InputStream open(String name) throws AgentException {
    InputStream stream = resources.getResourceAsStream(PLACE + platform + "/" + name);
    if (stream == null) {
      throw new AgentException(
          "this jar carries no agent for the platform "
              + platform
              + ": use a jar that does, or name an executable with the option agent-path,"
              + " or run the agent elsewhere and set agent=external");
    }
    return stream;
  }

  private void unpack(Path executable, String expected) throws AgentException, IOException {
    if (!Files.isDirectory(directory)) {
      Files.createDirectories(directory, PRIVATE);
    }
    Path temporary = Files.createTempFile(directory, ".keyferry-", ".tmp", PRIVATE);
    try {
      try (InputStream stream = open("keyferry")) {
        Files.copy(stream, temporary, StandardCopyOption.REPLACE_EXISTING);
      }
      Files.setPosixFilePermissions(temporary, PRIVATE.value());
      if (!hashOf(temporary).equals(expected)) {
        throw new AgentException("the agent in the jar is damaged; copy the jar anew");
      }
      Files.move(temporary, executable, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(temporary);
    }
  }

  private static String hashOf(Path file) throws IOException {
    try (DigestInputStream stream = new DigestInputStream(Files.newInputStream(file), sha256())) {
      stream.transferTo(OutputStream.nullOutputStream());
      return HexFormat.of().formatHex(stream.getMessageDigest().digest());
    }
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }
}
