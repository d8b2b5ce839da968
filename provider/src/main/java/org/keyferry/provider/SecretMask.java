package org.keyferry.provider;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.keycloak.events.Event;
import org.keycloak.util.JsonSerialization;

/**
 * Masks secrets, by the names of their fields and by their own shape, before events are journaled,
 * as the agent does before they are published.
 *
 * <p>Keycloak's objects are not changed, because other listeners get them too: a user event whose
 * details hold a secret is copied. What holds none is journaled as it is.
 */
final class SecretMask {
  private static final String NAMES = "secret-names.tsv";
  private static final String MASK = "**********";
  private static final int LONGEST_NAME = 96;

  /** A text is JSON as a whole, or none: what follows its first value would pass unseen. */
  private static final ObjectReader READER =
      JsonSerialization.mapper.reader().with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  /**
   * What follows in {@link #NAMES} are ends of names, whole names, exceptions, credentials, and the
   * marks of private keys.
   */
  private static final Map<String, Set<String>> KNOWN = read();

  private static final Set<String> ENDINGS = KNOWN.get("ending");
  private static final Set<String> WHOLE = KNOWN.get("name");
  private static final Set<String> HARMLESS = KNOWN.get("harmless");
  private static final Set<String> CREDENTIALS = KNOWN.get("credential");
  private static final SecretShape SHAPE = new SecretShape(KNOWN.get("pem"), KNOWN.get("der"));

  private SecretMask() {}

  private static Map<String, Set<String>> read() {
    Map<String, Set<String>> known = new HashMap<>();
    List.of("ending", "name", "harmless", "credential", "pem", "der")
        .forEach(kind -> known.put(kind, new HashSet<>()));
    try (InputStream stream = SecretMask.class.getResourceAsStream(NAMES);
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8))) {
      lines
          .lines()
          .filter(line -> !line.startsWith("#"))
          .map(line -> line.split("\t"))
          .forEach(columns -> known.get(columns[0]).add(columns[1]));
      return known;
    } catch (IOException e) {
      throw new UncheckedIOException("The jar is damaged: cannot read " + NAMES, e);
    }
  }

  /** The event without its secrets: itself, if it has none. */
  static Event without(Event event) {
    Map<String, String> details = event.getDetails();
    if (details == null) {
      return event;
    }
    Map<String, String> masked = new HashMap<>();
    details.forEach((name, value) -> masked.put(name, without(name, value)));
    if (masked.equals(details)) {
      return event;
    }
    Event copy = event.clone();
    copy.setDetails(masked);
    return copy;
  }

  /**
   * A representation without its secrets: itself, if it has none.
   *
   * @param representation may be {@code null}
   */
  static String without(String representation) {
    return representation == null ? null : withoutInText(representation);
  }

  private static String without(String name, String value) {
    if (value == null) {
      return null;
    }
    return isSecret(name) ? masked(value) : withoutInText(value);
  }

  /** A text that may be JSON. What begins like JSON and is none is masked as a whole. */
  private static String withoutInText(String text) {
    String begin = text.stripLeading();
    if (!begin.startsWith("{") && !begin.startsWith("[")) {
      return SHAPE.masked(text);
    }
    try {
      JsonNode tree = READER.readTree(text);
      return mask(tree, false) ? tree.toString() : text;
    } catch (JsonProcessingException e) {
      return MASK;
    }
  }

  /** Masks what is below, and whether anything was. {@code all}: whatever its name is. */
  private static boolean mask(JsonNode tree, boolean all) {
    boolean changed = false;
    if (tree instanceof ObjectNode object) {
      boolean credential = CREDENTIALS.contains(object.path("type").asText(""));
      for (Map.Entry<String, JsonNode> field : object.properties()) {
        boolean secret =
            all || isSecret(field.getKey()) || credential && field.getKey().equals("value");
        JsonNode masked = maskValue(field.getValue(), secret);
        if (masked != null) {
          field.setValue(masked);
          changed = true;
        }
      }
    } else if (tree instanceof ArrayNode list) {
      for (int i = 0; i < list.size(); i++) {
        JsonNode masked = maskValue(list.get(i), all);
        if (masked != null) {
          list.set(i, masked);
          changed = true;
        }
      }
    }
    return changed;
  }

  /** What takes the value's place; {@code null} if it stays as it is. */
  private static JsonNode maskValue(JsonNode value, boolean secret) {
    if (value.isContainerNode()) {
      return mask(value, secret) ? value : null;
    }
    if (secret && value.isNumber()) {
      return IntNode.valueOf(0);
    }
    if (!value.isTextual()) {
      return null;
    }
    String text = value.textValue();
    String masked = secret ? masked(text) : withoutInText(text);
    return masked.equals(text) ? null : TextNode.valueOf(masked);
  }

  /** Empty texts, truth values, what is masked already and names of vault entries tell nothing. */
  private static String masked(String text) {
    boolean harmless =
        text.chars().allMatch(c -> c == '*')
            || text.equals("true")
            || text.equals("false")
            || text.startsWith("${vault.");
    return harmless ? text : MASK;
  }

  private static boolean isSecret(String name) {
    if (name.length() > LONGEST_NAME) {
      return false;
    }
    String plain = name.replaceAll("[_\\-. ]", "").toLowerCase(Locale.ROOT);
    return WHOLE.contains(plain)
        || !HARMLESS.contains(plain) && ENDINGS.stream().anyMatch(plain::endsWith);
  }
}
