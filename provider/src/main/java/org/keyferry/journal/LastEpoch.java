package org.keyferry.journal;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.stream.Stream;

/**
 * How the last epoch of a slot that nobody writes has ended.
 *
 * <p>Invariant: {@link #undecided} is empty unless every record that the epoch's surviving segments
 * ever held has been read, so that a transaction without outcome really has none.
 */
final class LastEpoch {
  private final Disk disk;
  private final Slot slot;
  private final long epoch;
  private final Map<Long, List<EventReference>> undecided = new LinkedHashMap<>();

  private int lastNumber;
  private long nextCommit;
  private long end;
  private boolean sealed;
  private boolean closed;
  private String damage;

  private LastEpoch(Disk disk, Slot slot, long epoch) {
    this.disk = disk;
    this.slot = slot;
    this.epoch = epoch;
  }

  /**
   * @return {@code null} if the slot has no segments
   */
  static LastEpoch read(Disk disk, Slot slot) throws IOException {
    List<String> names = disk.list(slot.directory());
    OptionalLong newest =
        segments(names).mapToLong(name -> Long.parseUnsignedLong(name.group(1), 16)).max();
    if (newest.isEmpty()) {
      return null;
    }
    LastEpoch last = new LastEpoch(disk, slot, newest.getAsLong());
    last.readSegments(last.numbers(names));
    return last;
  }

  private static Stream<MatchResult> segments(List<String> names) {
    return names.stream()
        .map(Format.SEGMENT_NAME::matcher)
        .filter(Matcher::matches)
        .map(Matcher::toMatchResult);
  }

  long epoch() {
    return epoch;
  }

  /** The number of the last segment. */
  int lastNumber() {
    return lastNumber;
  }

  /** Where the last record of the last segment ends. */
  long end() {
    return end;
  }

  /** Whether the last segment takes nothing more. */
  boolean isSealed() {
    return sealed;
  }

  /** The number that the epoch's next COMMIT carries. */
  long nextCommit() {
    return nextCommit;
  }

  /** Why it cannot be told which transactions are without outcome; {@code null} if it can. */
  String damage() {
    return damage;
  }

  /** The transactions without outcome, in the order of their first PREPARE, with their events. */
  Map<Long, List<EventReference>> undecided() {
    return damage != null || closed ? Map.of() : undecided;
  }

  private void readSegments(List<Integer> numbers) throws IOException {
    for (int i = 0; i < numbers.size() && damage == null; i++) {
      if (i > 0 && numbers.get(i) != lastNumber + 1) {
        damage = "segment " + (lastNumber + 1) + " is missing";
        return;
      }
      readSegment(numbers.get(i), i == 0, i == numbers.size() - 1);
    }
  }

  private List<Integer> numbers(List<String> names) {
    return segments(names)
        .filter(name -> Long.parseUnsignedLong(name.group(1), 16) == epoch)
        .map(name -> Integer.parseUnsignedInt(name.group(2), 16))
        .sorted(Integer::compareUnsigned)
        .toList();
  }

  private void readSegment(int number, boolean first, boolean last) throws IOException {
    String name = Format.segmentName(epoch, number);
    SegmentScanner scanner =
        SegmentScanner.open(disk, slot.directory().resolve(name), epoch, number);
    if (scanner == null) {
      damage = name + " has no valid header";
      return;
    }
    if (first) {
      nextCommit = scanner.firstCommit();
    } else if (scanner.firstCommit() != nextCommit) {
      damage = "commits are missing before " + name;
      return;
    }
    lastNumber = number;
    sealed = false;
    SegmentScanner.Scanned record = scanner.next();
    while (record != null && damage == null) {
      take(record, name);
      record = scanner.next();
    }
    end = scanner.at();
    boolean mayBeTorn = last && !sealed;
    if (damage == null && !scanner.isAtEnd() && !(mayBeTorn && isTorn(scanner))) {
      damage = name + " is damaged from offset " + end + " on";
    }
  }

  private static boolean isTorn(SegmentScanner scanner) throws IOException {
    return scanner.isCutShort() && !scanner.hasMore();
  }

  private void take(SegmentScanner.Scanned record, String segment) {
    if (record.is(RecordKind.PREPARE)) {
      undecided
          .computeIfAbsent(record.transaction(), id -> new ArrayList<>())
          .addAll(SegmentScanner.events(record.payload()));
    } else if (record.is(RecordKind.COMMIT)) {
      long number = Format.getLong(record.payload(), 0);
      if (number != nextCommit && !isSettled(record.payload())) {
        damage = "commits are missing in " + segment;
        return;
      }
      nextCommit = number + 1;
      undecided.remove(record.transaction());
    } else if (record.is(RecordKind.ABORT)) {
      undecided.remove(record.transaction());
    } else if (record.is(RecordKind.SEAL)) {
      sealed = true;
    } else if (record.is(RecordKind.CLOSE)) {
      closed = true;
    }
  }

  private static boolean isSettled(byte[] commit) {
    return commit.length >= Format.MARKED_COMMIT_PAYLOAD
        && Format.getLong(commit, 8) == Format.SETTLED;
  }
}
