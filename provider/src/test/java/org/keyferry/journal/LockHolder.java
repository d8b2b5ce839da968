package org.keyferry.journal;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Another JVM that holds a slot until it is closed. */
final class LockHolder implements AutoCloseable {
  private final Process process;
  private final String slot;

  LockHolder(Path journal) throws IOException {
    process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xshare:auto",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                LockHolder.class.getName(),
                journal.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    BufferedReader output =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    slot = output.readLine();
  }

  /** The name of the slot that it got. */
  String slot() {
    return slot;
  }

  @Override
  public void close() {
    process.destroyForcibly().onExit().join();
  }

  /** Claims a slot, says which, and waits to be killed. */
  public static void main(String[] arguments) throws IOException {
    Slot slot = Slot.claim(new LocalDisk(), Path.of(arguments[0]));
    System.out.println(slot.directory().getFileName());
    System.in.read();
  }
}
