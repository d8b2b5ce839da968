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

  /** Opens a file that exists; the next write goes to its end. */
  SegmentFile reopen(Path file) throws IOException;

  /**
   * Reads a file's bytes from {@code position} on.
   *
   * @return how many were read: as many as {@code into} takes, fewer only at the end of the file
   */
  int read(Path file, long position, byte[] into) throws IOException;

  /** How many bytes the file has. */
  long size(Path file) throws IOException;

  /** How many bytes the directory's file system has left for this process. */
  long freeSpace(Path directory) throws IOException;

  /** Returns when the directory's entries would survive a power cut. */
  void syncDirectory(Path directory) throws IOException;

  /** Deletes the file. */
  void delete(Path file) throws IOException;

  /**
   * Takes the POSIX write lock on the file's first byte, creating the file if need be.
   *
   * @return the lock, which is given up by closing it; empty if somebody else holds it
   */
  Optional<Closeable> tryLock(Path file) throws IOException;
}
