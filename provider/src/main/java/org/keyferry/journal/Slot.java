package org.keyferry.journal;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
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

  /**
   * Returns when the slot's and the journal's directory would be found again after a power cut.
   *
   * @throws IOException if that cannot be known
   */
  void syncEntries() throws IOException {
    Path journal = directory.getParent();
    disk.syncDirectory(journal);
    Path parent = journal.getParent();
    try {
      disk.syncDirectory(parent);
    } catch (AccessDeniedException e) {
      Log.JOURNAL.warnf(
          "The directory %s, in which the journal directory is, may not be read and is not forced to disk. If the journal"
              + " directory is new, a power cut in the next seconds may take it.",
          parent);
    }
  }

  /**
   * Begins an epoch: finds an id above every one that the slot has ever had, and marks it in the
   * directory before anything of it exists.
   *
   * <p>Segments alone do not tell: a power cut may take every one that was not synced, while the
   * agent remembers how far it had got in them. An epoch below that would be taken for old if the
   * clock went back as well.
   */
  long beginEpoch(long microseconds) throws IOException {
    long epoch = (microseconds & -256L) | number;
    List<String> marks = new ArrayList<>();
    for (String name : disk.list(directory)) {
      Matcher known = Format.EPOCH_OF_NAME.matcher(name);
      if (known.matches()) {
        epoch = above(Long.parseUnsignedLong(known.group(1), 16), epoch);
        if (name.endsWith(Format.EPOCH_MARK)) {
          marks.add(name);
        }
      }
    }
    disk.create(directory.resolve(Format.epochMark(epoch))).close();
    syncMark();
    for (String mark : marks) {
      disk.delete(directory.resolve(mark));
    }
    return epoch;
  }

  private void syncMark() {
    try {
      disk.syncDirectory(directory);
    } catch (IOException e) {
      Log.JOURNAL.warnf(
          e,
          "The directory %s cannot be forced to disk: after a power cut with a clock that goes back, an epoch may be repeated",
          directory);
    }
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
