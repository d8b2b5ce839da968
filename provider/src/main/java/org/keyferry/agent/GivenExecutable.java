package org.keyferry.agent;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The executable that the option {@code agent-path} names. */
public record GivenExecutable(Path path) implements Executable {
  @Override
  public Path locate() throws IOException {
    if (!Files.isExecutable(path)) {
      throw new IOException(
          "the file that the option agent-path names, " + path + ", is not an executable file");
    }
    return path;
  }
}
