package org.keyferry.journal;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.CRC32C;

/**
 * The segment that is being written. After a write that failed, the file ends with the last whole
 * record again, or the segment is {@linkplain #isTorn() torn} and takes nothing more. To be used
 * under the journal's lock, but for what concerns its durability.
 */
final class Segment {
  private static final int PLACE = 8 + 4 + 8;

  private final SegmentFile file;
  private final Path path;
  private final int headerLength;
  private final CRC32C checksum = new CRC32C();

  /** What a record's checksum covers beside its bytes: epoch, segment number, offset. */
  private final byte[] place = new byte[PLACE];

  private final GroupSync sync;

  /** Read by the threads that sync, too. */
  private volatile long end;

  private boolean torn;

  /** What stands in a segment's header. */
  record Header(long epoch, int number, long firstCommit, long created, String node) {
    byte[] encode() {
      byte[] name = node.getBytes(StandardCharsets.UTF_8);
      int length = Format.aligned(Format.SEGMENT_HEADER_BASE + name.length);
      byte[] header = Arrays.copyOf(Format.MAGIC, length);
      Format.putShort(header, 8, Format.VERSION);
      Format.putShort(header, 10, length);
      Format.putInt(header, 12, number);
      Format.putLong(header, 16, epoch);
      Format.putLong(header, 24, firstCommit);
      Format.putLong(header, 32, created);
      Format.putShort(header, 40, name.length);
      System.arraycopy(name, 0, header, 42, name.length);
      CRC32C checksum = new CRC32C();
      checksum.update(header, 0, length - 4);
      Format.putInt(header, length - 4, (int) checksum.getValue());
      return header;
    }
  }

  private Segment(SegmentFile file, Path path, Header header, int headerLength, long end) {
    this.file = file;
    this.path = path;
    this.headerLength = headerLength;
    this.end = end;
    this.sync = new GroupSync(file, this::end);
    Format.putLong(place, 0, header.epoch());
    Format.putInt(place, 8, header.number());
  }

  /** Makes the segment's file with its header. If that fails, there is no file. */
  static Segment create(Disk disk, Path directory, Header header) throws IOException {
    Path path = directory.resolve(Format.segmentName(header.epoch(), header.number()));
    SegmentFile file = disk.create(path);
    byte[] bytes = header.encode();
    try {
      file.write(bytes, bytes.length);
    } catch (IOException e) {
      closeAfter(e, file);
      try {
        disk.delete(path);
      } catch (IOException alsoFailed) {
        e.addSuppressed(alsoFailed);
      }
      throw e;
    }
    return new Segment(file, path, header, bytes.length, bytes.length);
  }

  /**
   * Opens a segment that an earlier epoch has left, to go on after its last whole record: what is
   * behind it is cut off.
   */
  static Segment reopen(Disk disk, Path path, Header header, long end) throws IOException {
    SegmentFile file = disk.reopen(path);
    try {
      file.truncate(end);
    } catch (IOException e) {
      closeAfter(e, file);
      throw e;
    }
    return new Segment(file, path, header, header.encode().length, end);
  }

  /**
   * Whether a record would make the file, with the SEAL behind it, larger than {@code size}. An
   * empty segment takes any record.
   */
  boolean isFullFor(int length, long size) {
    return end > headerLength && end + length + Format.RECORD_HEADER > size;
  }

  /**
   * Fills in a record's header and checksum.
   *
   * @param at where the record begins in {@code bytes}; the bytes will be written from 0 on, so it
   *     is also its distance from the end of the segment. The payload must be in its place, the
   *     padding zero.
   */
  void seal(byte[] bytes, int at, RecordKind kind, int payload, long transaction, long time) {
    Format.putInt(bytes, at, Format.RECORD_MARKER);
    Format.putInt(bytes, at + 8, payload);
    Format.putInt(bytes, at + 12, kind.code);
    Format.putLong(bytes, at + 16, transaction);
    Format.putLong(bytes, at + 24, time);
    Format.putLong(place, 12, end + at);
    checksum.reset();
    checksum.update(place, 0, PLACE);
    checksum.update(bytes, at + 8, Format.RECORD_HEADER - 8 + payload);
    Format.putInt(bytes, at + 4, (int) checksum.getValue());
  }

  /**
   * Appends sealed records by one write. If it fails, the first of them stays nevertheless if it is
   * whole in the file, because a reader may have taken it already; {@link #end()} tells.
   *
   * @param first how long the first record is
   */
  void append(byte[] bytes, int first, int length) throws IOException {
    try {
      file.write(bytes, length);
    } catch (IOException e) {
      undo(first, e);
      throw e;
    }
    end += length;
  }

  private void undo(int first, IOException failure) {
    try {
      long kept = file.length() >= end + first ? end + first : end;
      file.truncate(kept);
      end = kept;
    } catch (IOException e) {
      torn = true;
      failure.addSuppressed(e);
    }
  }

  /** Where the next record will begin. */
  long end() {
    return end;
  }

  private static void closeAfter(IOException failure, SegmentFile file) {
    try {
      file.close();
    } catch (IOException e) {
      failure.addSuppressed(e);
    }
  }

  /** Returns when the segment's first {@code until} bytes would survive a power cut. */
  void awaitDurable(long until) throws IOException {
    sync.await(until);
  }

  /** How many of the segment's first bytes are known to survive a power cut. */
  long durable() {
    return sync.durable();
  }

  /** Whether a sync of the segment has failed: it takes nothing more. */
  boolean hasFailed() {
    return sync.hasFailed();
  }

  /** Whether torn bytes stayed behind the last whole record: the segment takes nothing more. */
  boolean isTorn() {
    return torn;
  }

  Path path() {
    return path;
  }

  /** How long the header is. */
  int headerLength() {
    return headerLength;
  }

  /** Closes the file, after the sync that runs. */
  void close() throws IOException {
    sync.close();
  }
}
