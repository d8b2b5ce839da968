package org.keyferry.journal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Text as it comes to stand in the buffer. */
class EventBufferTest {
  private static final int BODY_AT = Format.RECORD_HEADER + 4 + Format.EVENT_HEADER;

  /** From every range in which UTF-8 is of another length, halves of pairs among them. */
  private static final String[] PIECES = {
    "a",
    "{\"id\":\"",
    "\u007f",
    "\u0080",
    "ö",
    "\u07ff",
    "\u0800",
    "€",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "😀",
    "\udbff\udfff",
    "\ud83d",
    "\ude00"
  };

  private static String text(Random random) {
    StringBuilder text = new StringBuilder();
    for (int pieces = random.nextInt(60); pieces > 0; pieces--) {
      text.append(PIECES[random.nextInt(PIECES.length)]);
    }
    return text.toString();
  }

  private static byte[] bytesFrom(EventBuffer buffer, int from) {
    return Arrays.copyOfRange(buffer.complete(), from, Format.RECORD_HEADER + buffer.size());
  }

  /** However it is cut, also between the halves of a pair. */
  @Test
  void aBodyIsEncodedAsAStringIs() throws IOException {
    Random random = new Random(1);
    for (int turn = 0; turn < 20_000; turn++) {
      String text = text(random);
      EventBuffer buffer = EventBuffer.take();
      buffer.begin(EventKind.USER, 1);
      write(buffer.body(), text, random);
      buffer.end();
      assertArrayEquals(text.getBytes(StandardCharsets.UTF_8), bytesFrom(buffer, BODY_AT), text);
      buffer.recycle();
    }
  }

  private static void write(Writer body, String text, Random random) throws IOException {
    char[] characters = text.toCharArray();
    for (int at = 0; at < characters.length; ) {
      int length = Math.min(characters.length - at, random.nextInt(5));
      body.write(characters, at, length);
      at += length;
    }
  }

  /** The first half of a pair, of which nothing may stay behind. */
  @Test
  void whatIsTakenBackLeavesNothing() throws IOException {
    EventBuffer buffer = EventBuffer.take();
    buffer.begin(EventKind.USER, 1);
    buffer.body().write("x".repeat(5000) + "\ud83d");
    buffer.discard();
    buffer.begin(EventKind.USER, 1);
    buffer.body().write("\ude00");
    buffer.end();
    assertArrayEquals(new byte[] {'?'}, bytesFrom(buffer, BODY_AT));
  }

  @Test
  void aFieldIsEncodedAsAStringIsOrLeftOut() {
    for (String value : new String[] {"plain", "größe", "😀", "a\ud83d", "ö".repeat(2048)}) {
      byte[] text = value.getBytes(StandardCharsets.UTF_8);
      EventBuffer buffer = EventBuffer.take();
      buffer.begin(EventKind.USER, 1);
      buffer.field(Field.ID, value);
      byte[] field = bytesFrom(buffer, BODY_AT);
      assertEquals(text.length, Format.getShort(field, 1));
      assertArrayEquals(text, Arrays.copyOfRange(field, Format.FIELD_HEADER, field.length), value);
      buffer.discard();
      buffer.recycle();
    }
    EventBuffer buffer = EventBuffer.take();
    buffer.begin(EventKind.USER, 1);
    buffer.field(Field.ID, "ö".repeat(2049));
    buffer.field(Field.ID, "x".repeat(4097));
    assertEquals(0, bytesFrom(buffer, BODY_AT).length);
  }
}
