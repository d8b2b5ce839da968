package org.keyferry.journal;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.regex.Pattern;

/** The constants and integers of the journal format, version 1. All integers are little endian. */
final class Format {
  static final byte[] MAGIC = {(byte) 0x89, 'K', 'F', 'J', '\r', '\n', 0x1A, '\n'};
  static final int VERSION = 1;

  /** Records and headers begin at multiples of this. */
  static final int ALIGNMENT = 8;

  static final int SEGMENT_HEADER_BASE = 46;
  static final int NODE_NAME_MAX = 255;

  /** {@code FF 4B 46 FE} read as a little-endian integer. */
  static final int RECORD_MARKER = 0xFE464BFF;

  static final int RECORD_HEADER = 32;
  static final int PAYLOAD_MAX = 64 << 20;
  static final int COMMIT_PAYLOAD = 8;

  /** Of a COMMIT behind whose number stands {@link #REPEATED} or {@link #SETTLED}. */
  static final int MARKED_COMMIT_PAYLOAD = 16;

  /** The COMMIT repeats one. */
  static final long REPEATED = 1;

  /** The COMMIT was written by the writer's next start. */
  static final long SETTLED = 2;

  /** Numbers of settled COMMITs begin at a multiple of this, beyond all that came before. */
  static final long COMMIT_STRIDE = 1L << 32;

  static final int GAP_PAYLOAD = 33;
  static final int EVENT_HEADER = 16;
  static final int FIELD_HEADER = 3;
  static final int FIELD_VALUE_MAX = 4096;

  static final int SLOT_MAX = 256;

  static final Pattern SEGMENT_NAME = Pattern.compile("([0-9a-f]{16})-([0-9a-f]{8})\\.kfj");

  /** The end of the name of an epoch's mark. */
  static final String EPOCH_MARK = ".epoch";

  /** What tells of an epoch by its name: a segment, or the epoch's mark. */
  static final Pattern EPOCH_OF_NAME =
      Pattern.compile("([0-9a-f]{16})(?:-[0-9a-f]{8}\\.kfj|\\.epoch)");

  private static final VarHandle SHORTS =
      MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle INTS =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle LONGS =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private Format() {}

  static void putShort(byte[] bytes, int at, int value) {
    SHORTS.set(bytes, at, (short) value);
  }

  static void putInt(byte[] bytes, int at, int value) {
    INTS.set(bytes, at, value);
  }

  static void putLong(byte[] bytes, int at, long value) {
    LONGS.set(bytes, at, value);
  }

  static int getShort(byte[] bytes, int at) {
    return Short.toUnsignedInt((short) SHORTS.get(bytes, at));
  }

  static int getInt(byte[] bytes, int at) {
    return (int) INTS.get(bytes, at);
  }

  static long getLong(byte[] bytes, int at) {
    return (long) LONGS.get(bytes, at);
  }

  /** The length rounded up to the alignment. */
  static int aligned(int length) {
    return (length + ALIGNMENT - 1) & -ALIGNMENT;
  }

  /** The bytes that a record with such a payload takes in a segment. */
  static int recordLength(int payload) {
    return aligned(RECORD_HEADER + payload);
  }

  static String segmentName(long epoch, int number) {
    return String.format("%016x-%08x.kfj", epoch, number);
  }

  static String epochMark(long epoch) {
    return String.format("%016x", epoch) + EPOCH_MARK;
  }
}
