package org.keyferry.agent;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;

/**
 * What the agent is told at its start, by its standard input. It may contain secrets: it is never
 * logged.
 *
 * @param slot the slot's directory, absolute
 * @param node the node's name as in the segment headers
 * @param provider the provider's version
 * @param keycloak Keycloak's version
 * @param options the provider's whole configuration scope, names in kebab case
 */
public record HandOver(
    Path slot, String node, String provider, String keycloak, Map<String, String> options) {
  private static final int VERSION = 1;
  private static final ObjectMapper JSON = new ObjectMapper();

  /** The line, with its end. */
  byte[] line() {
    ObjectNode line = JSON.createObjectNode();
    line.put("version", VERSION);
    line.put("slot", slot.toString());
    line.put("node", node);
    line.put("provider", provider);
    line.put("keycloak", keycloak);
    ObjectNode named = line.putObject("options");
    options.forEach(named::put);
    try {
      return (JSON.writeValueAsString(line) + "\n").getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of strings always has a JSON form", e);
    }
  }

  @Override
  public String toString() {
    return "HandOver[slot=" + slot + ", options=" + options.keySet() + "]";
  }
}
