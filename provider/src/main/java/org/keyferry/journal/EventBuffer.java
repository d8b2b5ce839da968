package org.keyferry.journal;

import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The events of a transaction as a PREPARE record that only lacks its place: everything that does
 * not depend on the place is encoded here, outside of the journal's lock.
 *
 * <p>An event is added by {@link #begin}, {@link #field} in the order of the tags, {@link #body}
 * and {@link #end()}; or taken back by {@link #discard()}. Its text is encoded in place: an event
 * leaves no copy of itself for the collector. Not safe for use by many threads at once.
 */
public final class EventBuffer {
  private static final int INITIAL = 2048;

  /** A buffer that has grown beyond this is not kept for another transaction. */
  private static final int KEEP_MAX = 64 << 10;

  private static final int EVENTS_AT = Format.RECORD_HEADER + 4;

  /** Room behind the events for the padding and for a COMMIT that shares the write. */
  private static final int TAIL = Format.ALIGNMENT + Format.recordLength(Format.COMMIT_PAYLOAD);

  private static final ThreadLocal<EventBuffer> SPARE = new ThreadLocal<>();

  /** What a UTF-16 unit takes at most in UTF-8. */
  private static final int WIDEST = 3;

  private byte[] bytes = new byte[INITIAL];
  private final Body body = new Body();
  private int end = EVENTS_AT;
  private int eventAt;
  private int bodyAt;
  private EventKind kind;
  private long time;

  private int userEvents;
  private int adminEvents;
  private long first;
  private long last;

  private EventBuffer() {}

  /** An empty buffer, the calling thread's spare one if it has one. */
  public static EventBuffer take() {
    EventBuffer spare = SPARE.get();
    if (spare == null) {
      return new EventBuffer();
    }
    SPARE.remove();
    return spare;
  }

  /** Gives the buffer up; the calling thread may take it for another transaction. */
  public void recycle() {
    if (bytes.length <= KEEP_MAX) {
      clear();
      SPARE.set(this);
    }
  }

  /** Begins an event. {@code time} is the event's own, in milliseconds since the Unix epoch. */
  public void begin(EventKind kind, long time) {
    this.kind = kind;
    this.time = time;
    eventAt = end;
    ensure(Format.EVENT_HEADER);
    end += Format.EVENT_HEADER;
    bodyAt = end;
  }

  /**
   * Adds a field of the event that was begun. Without a value, and with one that is too long for a
   * field, nothing is added.
   */
  public void field(Field field, String value) {
    if (value == null || value.isEmpty() || value.length() > Format.FIELD_VALUE_MAX) {
      return;
    }
    ensure(Format.FIELD_HEADER + (long) value.length());
    int length = value.length();
    if (!copyAscii(value, end + Format.FIELD_HEADER)) {
      byte[] text = value.getBytes(StandardCharsets.UTF_8);
      length = text.length;
      if (length > Format.FIELD_VALUE_MAX) {
        return;
      }
      ensure(Format.FIELD_HEADER + (long) length);
      System.arraycopy(text, 0, bytes, end + Format.FIELD_HEADER, length);
    }
    bytes[end] = (byte) field.tag;
    Format.putShort(bytes, end + 1, length);
    end += Format.FIELD_HEADER + length;
    bodyAt = end;
  }

  /** Whether the text is ASCII; if so, it is there now. */
  private boolean copyAscii(String text, int at) {
    byte[] into = bytes;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c >= 0x80) {
        return false;
      }
      into[at + i] = (byte) c;
    }
    return true;
  }

  /**
   * Takes the body of the event that was begun, after its fields. Half of a surrogate pair becomes
   * a question mark, as with {@link String#getBytes(java.nio.charset.Charset)}.
   */
  public Writer body() {
    return body;
  }

  /** Writes a body that is encoded already. */
  public void body(byte[] json) {
    ensure(json.length);
    System.arraycopy(json, 0, bytes, end, json.length);
    end += json.length;
  }

  /**
   * Adds a member at the end of the body that was written, which is a JSON object with members.
   *
   * @param json its value
   */
  public void addMember(String name, String json) {
    body.finish();
    end--; // The closing brace comes again.
    char[] member = (",\"" + name + "\":" + json + "}").toCharArray();
    body.write(member, 0, member.length);
  }

  /** Encodes what is written to it as UTF-8, in place. */
  private final class Body extends Writer {
    /** The first half of a surrogate pair whose other half is to come; 0 if there is none. */
    private char high;

    @Override
    public void write(char[] text, int from, int length) {
      ensure(WIDEST * (length + 1L));
      int next = from;
      int stop = from + length;
      while (next < stop) {
        if (high == 0) {
          next = copyAscii(text, next, stop);
        }
        if (next < stop) {
          put(text[next]);
          next++;
        }
      }
    }

    /** Returns where the first character stands that is none of ASCII. */
    private int copyAscii(char[] text, int from, int stop) {
      byte[] into = bytes;
      int at = end;
      int next = from;
      while (next < stop && text[next] < 0x80) {
        into[at++] = (byte) text[next++];
      }
      end = at;
      return next;
    }

    private void put(char c) {
      if (high != 0) {
        char first = high;
        high = 0;
        if (Character.isLowSurrogate(c)) {
          putPair(Character.toCodePoint(first, c));
          return;
        }
        bytes[end++] = '?';
      }
      if (Character.isHighSurrogate(c)) {
        high = c;
      } else if (Character.isLowSurrogate(c)) {
        bytes[end++] = '?';
      } else if (c < 0x80) {
        bytes[end++] = (byte) c;
      } else if (c < 0x800) {
        bytes[end++] = (byte) (0xC0 | c >> 6);
        bytes[end++] = (byte) (0x80 | c & 0x3F);
      } else {
        bytes[end++] = (byte) (0xE0 | c >> 12);
        bytes[end++] = (byte) (0x80 | c >> 6 & 0x3F);
        bytes[end++] = (byte) (0x80 | c & 0x3F);
      }
    }

    private void putPair(int codePoint) {
      bytes[end++] = (byte) (0xF0 | codePoint >> 18);
      bytes[end++] = (byte) (0x80 | codePoint >> 12 & 0x3F);
      bytes[end++] = (byte) (0x80 | codePoint >> 6 & 0x3F);
      bytes[end++] = (byte) (0x80 | codePoint & 0x3F);
    }

    /** Nothing more comes: half of a pair stays one. */
    private void finish() {
      if (high != 0) {
        high = 0;
        bytes[end++] = '?';
      }
    }

    @Override
    public void flush() {
      // Everything is in its place already.
    }

    @Override
    public void close() {
      // The buffer stays.
    }
  }

  /** Ends the event: from here on it is one of the buffer's. */
  public void end() {
    body.finish();
    Format.putInt(bytes, eventAt, end - bodyAt);
    Format.putShort(bytes, eventAt + 4, bodyAt - eventAt - Format.EVENT_HEADER);
    bytes[eventAt + 6] = (byte) kind.code;
    bytes[eventAt + 7] = 0;
    Format.putLong(bytes, eventAt + 8, time);
    first = isEmpty() ? time : Math.min(first, time);
    last = isEmpty() ? time : Math.max(last, time);
    if (kind == EventKind.USER) {
      userEvents++;
    } else {
      adminEvents++;
    }
  }

  /** Takes back the event that was begun. */
  public void discard() {
    body.high = 0;
    end = eventAt;
  }

  /** Whether there is no event in the buffer. */
  public boolean isEmpty() {
    return userEvents + adminEvents == 0;
  }

  /** The size of the record's payload so far, in bytes. */
  public int size() {
    return end - Format.RECORD_HEADER;
  }

  /** Whether the events are too many for one record. */
  public boolean exceedsRecord() {
    return size() > Format.PAYLOAD_MAX;
  }

  /** How many user events there are in the buffer. */
  public int userEvents() {
    return userEvents;
  }

  /** How many admin events there are in the buffer. */
  public int adminEvents() {
    return adminEvents;
  }

  /** Removes all events. */
  public void clear() {
    end = EVENTS_AT;
    userEvents = 0;
    adminEvents = 0;
  }

  Losses.Report asLost(GapCause cause) {
    return new Losses.Report(userEvents, adminEvents, first, last, cause);
  }

  int recordLength() {
    return Format.recordLength(size());
  }

  /** Completes the payload and its padding and gives the bytes, in which the record begins at 0. */
  byte[] complete() {
    Format.putInt(bytes, Format.RECORD_HEADER, userEvents + adminEvents);
    ensure(TAIL);
    Arrays.fill(bytes, end, end + Format.ALIGNMENT, (byte) 0);
    return bytes;
  }

  private void ensure(long more) {
    long needed = end + more + TAIL;
    if (needed <= bytes.length) {
      return;
    }
    if (needed > Integer.MAX_VALUE - 8) {
      throw new IllegalStateException("the event is larger than 2 GiB");
    }
    bytes =
        Arrays.copyOf(
            bytes, (int) Math.min(Integer.MAX_VALUE - 8, Math.max(needed, 2L * bytes.length)));
  }
}
