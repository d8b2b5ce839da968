package org.keyferry.provider;

import java.time.Duration;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sizes and durations as options write them, such as {@code 64MiB} and {@code 10s}. */
final class Units {
  private static final Pattern QUANTITY = Pattern.compile("(\\d{1,15})\\s*([A-Za-z]+)");

  private static final Map<String, Long> BYTES =
      Map.of("B", 1L, "KiB", 1L << 10, "MiB", 1L << 20, "GiB", 1L << 30);

  private static final Map<String, Long> MILLISECONDS =
      Map.of("ms", 1L, "s", 1_000L, "m", 60_000L, "h", 3_600_000L);

  private Units() {}

  /**
   * A size in bytes.
   *
   * @throws IllegalArgumentException if it is not one
   */
  static long bytes(String text) {
    return parse(text, BYTES);
  }

  /**
   * A duration.
   *
   * @throws IllegalArgumentException if it is not one
   */
  static Duration duration(String text) {
    return Duration.ofMillis(parse(text, MILLISECONDS));
  }

  private static long parse(String text, Map<String, Long> units) {
    Matcher quantity = QUANTITY.matcher(text.strip());
    Long unit = quantity.matches() ? units.get(quantity.group(2)) : null;
    if (unit == null) {
      throw new IllegalArgumentException("not a number with one of the units " + units.keySet());
    }
    try {
      return Math.multiplyExact(Long.parseLong(quantity.group(1)), unit);
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException("too large", e);
    }
  }
}
