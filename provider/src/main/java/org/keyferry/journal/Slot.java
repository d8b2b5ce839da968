package org.keyferry.journal;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Matcher;

/**
 * A slot of the journal directory, which this process alone writes for as long as it holds the
 * lock.
 *
 * @param number 0 to 255
 * @param directory the slot's directory, absolute
 */
record Slot(Disk disk, int number, Path directory, Closeable lock) implements Closeable {
  /**
   * Takes the lowest free slot, making it if there is none.
   *
   * @throws IOException if the directory cannot be used, or all slots are taken
   */
  static Slot claim(Disk disk, Path journal) throws IOException {
    disk.createDirectories(journal);
    for (int number = 0; number < Format.SLOT_MAX; number++) {
      Path directory = journal.resolve("slot-" + number);
      disk.createDirectories(directory);
      Optional<Closeable> lock = disk.tryLock(directory.resolve("lock"));
      if (lock.isPresent()) {
        return new Slot(disk, number, directory, lock.get());
      }
    }
    throw new IOException("all " + Format.SLOT_MAX + " slots are taken by running processes");
  }

  /** The id of an epoch that begins now. */
  long nextEpoch(long microseconds) throws IOException {
    long epoch = (microseconds & -256L) | number;
    for (String name : disk.list(directory)) {
      Matcher segment = Format.SEGMENT_NAME.matcher(name);
      if (segment.matches()) {
        epoch = above(Long.parseUnsignedLong(segment.group(1), 16), epoch);
      }
    }
    return epoch;
  }

  private static long above(long existing, long epoch) {
    if (epoch > existing) {
      return epoch;
    }
    return epoch + ((existing - epoch) / 256 + 1) * 256;
  }

  @Override
  public void close() throws IOException {
    lock.close();
  }
}
