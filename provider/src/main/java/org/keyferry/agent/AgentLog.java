package org.keyferry.agent;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.jboss.logging.Logger;

/** Passes the agent's log on to Keycloak's. */
final class AgentLog {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Logger log;

  AgentLog(Logger log) {
    this.log = log;
  }

  /** Passes on every line until the stream ends. */
  void passOn(InputStream stream) {
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        passOn(line);
      }
    } catch (IOException e) {
      log.debug("The agent's log has ended", e);
    }
  }

  void passOn(String line) {
    if (line.isBlank()) {
      return;
    }
    JsonNode entry = parse(line);
    String message = entry == null ? line : message(entry);
    log.log(entry == null ? Logger.Level.WARN : level(entry), message);
  }

  private static JsonNode parse(String line) {
    try {
      JsonNode entry = JSON.readTree(line);
      return entry.path("message").isTextual() ? entry : null;
    } catch (JsonProcessingException e) {
      return null;
    }
  }

  /** The message; of several destinations the one that it is about comes first. */
  private static String message(JsonNode entry) {
    String destination = entry.path("span").path("destination").asText();
    String message = entry.path("message").asText();
    return destination.isEmpty() ? message : "[" + destination + "] " + message;
  }

  private static Logger.Level level(JsonNode entry) {
    return switch (entry.path("level").asText()) {
      case "ERROR" -> Logger.Level.ERROR;
      case "WARN" -> Logger.Level.WARN;
      default -> Logger.Level.DEBUG;
    };
  }
}
