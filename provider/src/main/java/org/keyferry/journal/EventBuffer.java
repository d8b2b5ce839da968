package org.keyferry.journal;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The events of a transaction as a PREPARE record that only lacks its place: everything that does
 * not depend on the place is encoded here, outside of the journal's lock.
 *
 * <p>An event is added by {@link #begin}, {@link #field} in the order of the tags, {@link #body}
 * and {@link #end()}; or taken back by {@link #discard()}. Not safe for use by many threads at
 * once.
 */
public final class EventBuffer {
  private static final int INITIAL = 2048;

  /** A buffer that has grown beyond this is not kept for another transaction. */
  private static final int KEEP_MAX = 64 << 10;

  private static final int EVENTS_AT = Format.RECORD_HEADER + 4;

  /** Room behind the events for the padding and for a COMMIT that shares the write. */
  private static final int TAIL = Format.ALIGNMENT + Format.recordLength(Format.COMMIT_PAYLOAD);

  private static final ThreadLocal<EventBuffer> SPARE = new ThreadLocal<>();

  private byte[] bytes = new byte[INITIAL];
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
    byte[] text = value.getBytes(StandardCharsets.UTF_8);
    if (text.length > Format.FIELD_VALUE_MAX) {
      return;
    }
    ensure(Format.FIELD_HEADER + text.length);
    bytes[end] = (byte) field.tag;
    Format.putShort(bytes, end + 1, text.length);
    System.arraycopy(text, 0, bytes, end + Format.FIELD_HEADER, text.length);
    end += Format.FIELD_HEADER + text.length;
    bodyAt = end;
  }

  /** Writes the body of the event that was begun, after its fields. */
  public void body(byte[] json) {
    ensure(json.length);
    System.arraycopy(json, 0, bytes, end, json.length);
    end += json.length;
  }

  /** Ends the event: from here on it is one of the buffer's. */
  public void end() {
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

  private void ensure(int more) {
    long needed = (long) end + more + TAIL;
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
