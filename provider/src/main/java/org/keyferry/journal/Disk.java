package org.keyferry.journal;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Every file operation of the journal goes through here, so that tests can make each of them fail
 * and record them in order.
 */
interface Disk {
  /**
   * Makes the directory and those above it, as far as they are missing. What is made for the
   * journal has mode 0700.
   */
  void createDirectories(Path directory) throws IOException;

  /** The names of what is in the directory. */
  List<String> list(Path directory) throws IOException;

  /** Makes a new, empty file with mode 0600. It is an error if the file exists. */
  SegmentFile create(Path file) throws IOException;

  /** Deletes the file. */
  void delete(Path file) throws IOException;

  /**
   * Takes the POSIX write lock on the file's first byte, creating the file if need be.
   *
   * @return the lock, which is given up by closing it; empty if somebody else holds it
   */
  Optional<Closeable> tryLock(Path file) throws IOException;
}
