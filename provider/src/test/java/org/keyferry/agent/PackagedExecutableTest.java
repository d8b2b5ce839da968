package org.keyferry.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PackagedExecutableTest {
  @TempDir Path journal;

  private PackagedExecutable packaged(String platform) {
    return new PackagedExecutable(journal, platform, PackagedExecutableTest.class);
  }

  private long unpackedFiles() throws IOException {
    try (Stream<Path> files = Files.list(journal.resolve("bin"))) {
      return files.count();
    }
  }

  @Test
  void theExecutableIsUnpackedUnderItsHashForItsOwnerAlone() throws Exception {
    Path executable = packaged("test-whole").locate();
    assertTrue(executable.toString().matches(".*/bin/keyferry-[0-9a-f]{16}"));
    assertEquals(
        "rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(executable)));
    assertEquals("#!/bin/sh\nexit 0\n", Files.readString(executable));
    assertEquals(executable, packaged("test-whole").locate());
    assertEquals(1, unpackedFiles(), "no temporary file stays");
  }

  @Test
  void anExecutableThatWasChangedIsReplaced() throws Exception {
    Path executable = packaged("test-whole").locate();
    Files.writeString(executable, "#!/bin/sh\nsomething else\n");
    assertEquals(executable, packaged("test-whole").locate());
    assertEquals("#!/bin/sh\nexit 0\n", Files.readString(executable));
  }

  @Test
  void aDamagedJarIsNotStarted() throws Exception {
    AgentException error =
        assertThrows(AgentException.class, () -> packaged("test-damaged").locate());
    assertTrue(error.getMessage().contains("copy the jar anew"));
    assertEquals(0, unpackedFiles());
  }

  @Test
  void aMissingPlatformIsNamedWithTheWaysOut() {
    AgentException error = assertThrows(AgentException.class, () -> packaged("plan9-vax").locate());
    assertTrue(error.getMessage().contains("plan9-vax"));
    assertTrue(error.getMessage().contains("agent-path"));
    assertTrue(error.getMessage().contains("agent=external"));
  }
}
