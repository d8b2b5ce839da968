package org.keyferry.journal;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * Reads the records of a segment that nobody writes, one after the other.
 *
 * <p>Invariant: what it gives out is a whole record at its place, with its right checksum.
 */
final class SegmentScanner {
  private static final int WINDOW = 1 << 20;

  /**
   * A record.
   *
   * @param code of its kind
   */
  record Scanned(int code, long transaction, byte[] payload) {
    boolean is(RecordKind kind) {
      return code == kind.code;
    }
  }

  private final Disk disk;
  private final Path path;
  private final long size;

  /** What a checksum begins with: epoch, segment, offset, and the payload's length. */
  private final byte[] place = new byte[24];

  private byte[] window = new byte[0];
  private long windowAt;
  private int windowLength;

  private long firstCommit;
  private long at;

  private SegmentScanner(Disk disk, Path path, long size) {
    this.disk = disk;
    this.path = path;
    this.size = size;
  }

  /**
   * @return {@code null} if the segment has no valid header of this epoch and number
   */
  static SegmentScanner open(Disk disk, Path path, long epoch, int number) throws IOException {
    SegmentScanner scanner = new SegmentScanner(disk, path, disk.size(path));
    Format.putLong(scanner.place, 0, epoch);
    Format.putInt(scanner.place, 8, number);
    return scanner.readHeader(epoch, number) ? scanner : null;
  }

  private boolean readHeader(long epoch, int number) throws IOException {
    if (!load(0, Format.SEGMENT_HEADER_BASE)
        || !Arrays.equals(window, 0, Format.MAGIC.length, Format.MAGIC, 0, Format.MAGIC.length)
        || Format.getShort(window, 8) != Format.VERSION) {
      return false;
    }
    int length = Format.getShort(window, 10);
    if (length < Format.SEGMENT_HEADER_BASE || !load(0, length)) {
      return false;
    }
    CRC32C checksum = new CRC32C();
    checksum.update(window, 0, length - 4);
    firstCommit = Format.getLong(window, 24);
    at = length;
    return Format.getInt(window, length - 4) == (int) checksum.getValue()
        && Format.getInt(window, 12) == number
        && Format.getLong(window, 16) == epoch;
  }

  /** The number that the segment's first COMMIT carries. */
  long firstCommit() {
    return firstCommit;
  }

  /** Where the record after the last one that was given out begins. */
  long at() {
    return at;
  }

  boolean isAtEnd() {
    return at == size;
  }

  /** The next record; {@code null} if there is no valid one at this place. */
  Scanned next() throws IOException {
    int payload = validPayload(at);
    if (payload < 0) {
      return null;
    }
    int begin = begin(at);
    Scanned record =
        new Scanned(
            Byte.toUnsignedInt(window[begin + 12]),
            Format.getLong(window, begin + 16),
            Arrays.copyOfRange(
                window,
                begin + Format.RECORD_HEADER,
                begin + Format.RECORD_HEADER + keptOf(begin, payload)));
    at += Format.recordLength(payload);
    return record;
  }

  /** Whether there is a valid record anywhere behind this place. */
  boolean hasMore() throws IOException {
    for (long behind = at + Format.ALIGNMENT; behind < size; behind += Format.ALIGNMENT) {
      if (validPayload(behind) >= 0) {
        return true;
      }
    }
    return false;
  }

  /**
   * Whether what lies at this place, where no valid record does, is one whose write was cut short.
   * What is anything else was a record once.
   */
  boolean isCutShort() throws IOException {
    if (!load(at, Format.RECORD_HEADER)) {
      return true;
    }
    int begin = begin(at);
    int payload = Format.getInt(window, begin + 8);
    return Format.getInt(window, begin) == Format.RECORD_MARKER
        && RecordKind.isKnown(window[begin + 12])
        && payload >= 0
        && payload <= Format.PAYLOAD_MAX
        && at + Format.recordLength(payload) > size
        && !hasFlippedLength(payload);
  }

  /**
   * Whether the record is whole and only its length is wrong, by one bit: with a shorter one its
   * checksum is right.
   */
  private boolean hasFlippedLength(int payload) throws IOException {
    for (int bits = payload; bits != 0; bits &= bits - 1) {
      int shorter = payload & ~Integer.lowestOneBit(bits);
      if (load(at, Format.RECORD_HEADER + shorter) && isRight(at, shorter)) {
        return true;
      }
    }
    return false;
  }

  /** The payloads of unknown kinds are nobody's business. */
  private int keptOf(int begin, int payload) {
    int code = window[begin + 12];
    return code == RecordKind.PREPARE.code || code == RecordKind.COMMIT.code ? payload : 0;
  }

  /** How long the payload of the record at this offset is; negative if there is no valid one. */
  private int validPayload(long offset) throws IOException {
    if (!load(offset, Format.RECORD_HEADER)
        || Format.getInt(window, begin(offset)) != Format.RECORD_MARKER) {
      return -1;
    }
    int payload = Format.getInt(window, begin(offset) + 8);
    if (payload < 0
        || payload > Format.PAYLOAD_MAX
        || !load(offset, Format.recordLength(payload))) {
      return -1;
    }
    return isRight(offset, payload) ? payload : -1;
  }

  /** Whether the checksum of the record at this offset is right if its payload is so long. */
  private boolean isRight(long offset, int payload) {
    int begin = begin(offset);
    Format.putLong(place, 12, offset);
    Format.putInt(place, 20, payload);
    CRC32C checksum = new CRC32C();
    checksum.update(place);
    checksum.update(window, begin + 12, Format.RECORD_HEADER - 12 + payload);
    return Format.getInt(window, begin + 4) == (int) checksum.getValue();
  }

  private int begin(long offset) {
    return (int) (offset - windowAt);
  }

  /** Whether the file has these bytes; then the window does too. */
  private boolean load(long offset, int length) throws IOException {
    if (offset + length > size) {
      return false;
    }
    if (offset < windowAt || offset + length > windowAt + windowLength) {
      if (window.length < Math.max(WINDOW, length)) {
        window = new byte[Math.max(WINDOW, length)];
      }
      windowLength = disk.read(path, offset, window);
      windowAt = offset;
    }
    return length <= windowAt + windowLength - offset;
  }

  /** The events of a PREPARE's payload. */
  static List<EventReference> events(byte[] payload) {
    List<EventReference> events = new ArrayList<>();
    int at = 4;
    for (int left = Format.getInt(payload, 0); left > 0; left--) {
      int body = Format.getInt(payload, at);
      int fields = Format.getShort(payload, at + 4);
      EventKind kind = payload[at + 6] == EventKind.USER.code ? EventKind.USER : EventKind.ADMIN;
      int end = at + Format.EVENT_HEADER + fields;
      events.add(
          new EventReference(
              kind,
              Format.getLong(payload, at + 8),
              field(payload, at + Format.EVENT_HEADER, end, Field.ID),
              field(payload, at + Format.EVENT_HEADER, end, Field.TYPE),
              field(payload, at + Format.EVENT_HEADER, end, Field.REALM_ID)));
      at = end + body;
    }
    return events;
  }

  private static String field(byte[] payload, int begin, int end, Field wanted) {
    int at = begin;
    while (at < end) {
      int length = Format.getShort(payload, at + 1);
      if (payload[at] == wanted.tag) {
        return new String(payload, at + Format.FIELD_HEADER, length, StandardCharsets.UTF_8);
      }
      at += Format.FIELD_HEADER + length;
    }
    return null;
  }
}
