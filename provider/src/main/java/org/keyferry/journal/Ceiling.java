package org.keyferry.journal;

import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Clock;

/**
 * How much room the journal may take.
 *
 * <p>Invariant: events are admitted only while the slot's segments, with what the journal still
 * owes to transactions that were admitted before, stay within the largest size, and the file system
 * keeps its free rest. Only events are asked for: outcomes and gaps have had their room set aside.
 *
 * <p>The size is known from the journal's own writes and asked of the directory only where it seems
 * to be reached, because the agent deletes segments meanwhile. To be used under the journal's lock.
 */
final class Ceiling {
  private static final long REFRESH_MILLIS = 1_000;
  private static final long REFRESH_BYTES = 1 << 20;

  /**
   * The room.
   *
   * @param maxSize how many bytes the slot's segments may have
   * @param minFree how many bytes must stay free on the file system
   */
  record Limits(long maxSize, long minFree) {
    /** No limit but the disk's. */
    static final Limits NONE = new Limits(Long.MAX_VALUE, 0);
  }

  private final Disk disk;
  private final Path slot;
  private final Limits limits;
  private final Clock clock;

  private long used;
  private long usedKnownAt;
  private long free;
  private long freeKnownAt;
  private long writtenSince;

  private Ceiling(Disk disk, Path slot, Limits limits, Clock clock) {
    this.disk = disk;
    this.slot = slot;
    this.limits = limits;
    this.clock = clock;
  }

  static Ceiling of(Disk disk, Path slot, Limits limits, Clock clock) throws IOException {
    Ceiling ceiling = new Ceiling(disk, slot, limits, clock);
    ceiling.measureSegments();
    ceiling.measureFree();
    return ceiling;
  }

  /** Counts bytes that were written to the slot's segments. */
  void written(long bytes) {
    used += bytes;
    writtenSince += bytes;
  }

  /**
   * Refuses events that find no room.
   *
   * @param bytes of the events and of all that the journal owes
   */
  void admit(long bytes) throws JournalException {
    if (exceedsSize(bytes)) {
      throw new JournalException(
          GapCause.CEILING,
          String.format(
              "the segments in %s have reached the journal's ceiling (%d of %d bytes); find out why the agent does not"
                  + " deliver, or raise the option journal-max-size",
              slot, used, limits.maxSize()));
    }
    if (exceedsFree(bytes)) {
      throw new JournalException(
          GapCause.NO_SPACE,
          String.format(
              "no space: the file system of %s has %d bytes left, of which the option journal-min-free keeps %d free; free"
                  + " space on it, or choose another one with the option journal-dir",
              slot, Math.max(0, free - writtenSince), limits.minFree()));
    }
  }

  private boolean exceedsSize(long bytes) {
    if (used + bytes > limits.maxSize() && isOld(usedKnownAt)) {
      try {
        measureSegments();
      } catch (IOException e) {
        // Our own count holds, which can only be too high.
        usedKnownAt = clock.millis();
      }
    }
    return used + bytes > limits.maxSize();
  }

  private boolean exceedsFree(long bytes) {
    if (limits.minFree() == 0) {
      return false;
    }
    try {
      if (writtenSince >= REFRESH_BYTES || isOld(freeKnownAt)) {
        measureFree();
      }
      if (lacksFree(bytes)) {
        // There may be room again: nothing is refused by an old answer.
        measureFree();
      }
    } catch (IOException e) {
      // The write itself will tell whether there is room.
      return false;
    }
    return lacksFree(bytes);
  }

  private boolean lacksFree(long bytes) {
    return free - writtenSince - bytes < limits.minFree();
  }

  private boolean isOld(long knownAt) {
    return Math.abs(clock.millis() - knownAt) >= REFRESH_MILLIS;
  }

  private void measureSegments() throws IOException {
    long sum = 0;
    if (limits.maxSize() < Long.MAX_VALUE) {
      for (String name : disk.list(slot)) {
        if (Format.SEGMENT_NAME.matcher(name).matches()) {
          sum += sizeIfThere(slot.resolve(name));
        }
      }
    }
    used = sum;
    usedKnownAt = clock.millis();
  }

  /** The agent deletes what it has delivered, perhaps just now. */
  private long sizeIfThere(Path segment) throws IOException {
    try {
      return disk.size(segment);
    } catch (NoSuchFileException e) {
      return 0;
    }
  }

  private void measureFree() throws IOException {
    if (limits.minFree() > 0) {
      free = disk.freeSpace(slot);
      freeKnownAt = clock.millis();
      writtenSince = 0;
    }
  }
}
