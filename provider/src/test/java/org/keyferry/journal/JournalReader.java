package org.keyferry.journal;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Reads one segment as {@code docs/journal-format.md} specifies it, independently of the writer's
 * code: nothing but the kinds and fields is shared. It is strict: what is not a valid record ends
 * the segment.
 */
final class JournalReader {
  record Event(EventKind kind, long time, Map<Field, String> fields, String body) {}

  record Gap(long userEvents, long adminEvents, long first, long last, int cause) {}

  /**
   * A record.
   *
   * @param offset where it begins
   * @param code of its kind
   * @param kind {@code null} if the code is unknown
   * @param commit the commit number; 0 if it is no COMMIT
   */
  record Entry(
      int offset,
      int code,
      RecordKind kind,
      long transaction,
      long time,
      List<Event> events,
      long commit,
      Gap gap) {}

  /**
   * A segment.
   *
   * @param validLength where the valid records end
   * @param length the file's
   */
  record Contents(
      long epoch,
      int number,
      long firstCommit,
      long created,
      String node,
      List<Entry> entries,
      int validLength,
      int length) {
    boolean isWhole() {
      return validLength == length;
    }
  }

  private final ByteBuffer data;
  private long epoch;
  private int number;

  private JournalReader(byte[] bytes) {
    data = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  static Contents read(byte[] bytes) {
    return new JournalReader(bytes).read();
  }

  private Contents read() {
    byte[] magic = new byte[8];
    data.get(0, magic);
    check(new String(magic, StandardCharsets.ISO_8859_1).equals("\u0089KFJ\r\n\u001a\n"), "magic");
    check(data.getShort(8) == 1, "version");
    int header = Short.toUnsignedInt(data.getShort(10));
    check(header % 8 == 0, "header length");
    check(crc(data.array(), 0, header - 4) == data.getInt(header - 4), "header checksum");
    number = data.getInt(12);
    epoch = data.getLong(16);
    int nodeLength = Short.toUnsignedInt(data.getShort(40));
    check(header == (46 + nodeLength + 7) / 8 * 8, "header length for the node name");
    for (int at = 42 + nodeLength; at < header - 4; at++) {
      check(data.get(at) == 0, "header padding");
    }
    String node = text(42, nodeLength);
    List<Entry> entries = new ArrayList<>();
    int at = header;
    while (isRecord(at)) {
      entries.add(entry(at));
      at = next(at);
    }
    return new Contents(
        epoch, number, data.getLong(24), data.getLong(32), node, entries, at, data.capacity());
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError("not as specified: " + what);
    }
  }

  private boolean isRecord(int at) {
    if (at + 32 > data.capacity() || data.getInt(at) != 0xFE464BFF) {
      return false;
    }
    int payload = data.getInt(at + 8);
    if (payload < 0 || payload > 64 << 20 || next(at) > data.capacity()) {
      return false;
    }
    ByteBuffer place = ByteBuffer.allocate(20).order(ByteOrder.LITTLE_ENDIAN);
    place.putLong(epoch).putInt(number).putLong(at);
    CRC32C checksum = new CRC32C();
    checksum.update(place.array());
    checksum.update(data.array(), at + 8, 24 + payload);
    return (int) checksum.getValue() == data.getInt(at + 4);
  }

  private int next(int at) {
    return at + (32 + data.getInt(at + 8) + 7) / 8 * 8;
  }

  private Entry entry(int at) {
    int payload = data.getInt(at + 8);
    int code = Byte.toUnsignedInt(data.get(at + 12));
    RecordKind kind = code <= RecordKind.values().length ? RecordKind.values()[code - 1] : null;
    check(data.get(at + 13) == 0 && data.getShort(at + 14) == 0, "zeros after the kind");
    for (int padding = at + 32 + payload; padding < next(at); padding++) {
      check(data.get(padding) == 0, "record padding");
    }
    check(kind == null || isPayload(kind, payload), "payload length of " + kind);
    return new Entry(
        at,
        code,
        kind,
        data.getLong(at + 16),
        data.getLong(at + 24),
        kind == RecordKind.PREPARE ? events(at + 32, payload) : List.of(),
        kind == RecordKind.COMMIT ? data.getLong(at + 32) : 0,
        kind == RecordKind.GAP ? gap(at + 32) : null);
  }

  private static boolean isPayload(RecordKind kind, int length) {
    return switch (kind) {
      case PREPARE -> length >= 4;
      case COMMIT -> length == 8 || length == 16;
      case ABORT, SEAL, CLOSE -> length == 0;
      case GAP -> length == 33;
    };
  }

  private Gap gap(int at) {
    return new Gap(
        data.getLong(at),
        data.getLong(at + 8),
        data.getLong(at + 16),
        data.getLong(at + 24),
        data.get(at + 32));
  }

  private List<Event> events(int start, int payload) {
    List<Event> events = new ArrayList<>();
    int count = data.getInt(start);
    int at = start + 4;
    for (int i = 0; i < count; i++) {
      int body = data.getInt(at);
      int fields = Short.toUnsignedInt(data.getShort(at + 4));
      EventKind kind = EventKind.values()[data.get(at + 6) - 1];
      check(data.get(at + 7) == 0, "zero in the event header");
      long time = data.getLong(at + 8);
      events.add(new Event(kind, time, fields(at + 16, fields), text(at + 16 + fields, body)));
      at += 16 + fields + body;
    }
    check(at == start + payload, "the events fill the payload");
    return events;
  }

  private Map<Field, String> fields(int start, int length) {
    Map<Field, String> fields = new EnumMap<>(Field.class);
    int last = 0;
    int at = start;
    while (at < start + length) {
      int tag = data.get(at);
      check(tag > last, "tags ascend");
      last = tag;
      int size = Short.toUnsignedInt(data.getShort(at + 1));
      fields.put(Field.values()[tag - 1], text(at + 3, size));
      at += 3 + size;
    }
    check(at == start + length, "the fields fill their block");
    return fields;
  }

  private String text(int at, int length) {
    return new String(data.array(), at, length, StandardCharsets.UTF_8);
  }

  private static int crc(byte[] bytes, int from, int length) {
    CRC32C checksum = new CRC32C();
    checksum.update(bytes, from, length);
    return (int) checksum.getValue();
  }
}
