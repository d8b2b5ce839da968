package org.keyferry.agent;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What the agent reports of itself in {@code status.json}.
 *
 * @param version the agent's version
 * @param pid its process id
 * @param state such as {@code idle} or {@code blocked}
 * @param reason what an operator should know; may be {@code null}
 * @param backlogBytes journal bytes that Kafka has not acknowledged yet
 * @param lastDelivery when Kafka last acknowledged a record, in milliseconds since the Unix epoch;
 *     may be {@code null}
 */
public record AgentStatus(
    String version, long pid, String state, String reason, long backlogBytes, Long lastDelivery) {
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * Reads the report of the agent that serves the slot; empty if there is none that can be read.
   */
  public static Optional<AgentStatus> read(Path slot) {
    try {
      JsonNode report = JSON.readTree(slot.resolve("status.json").toFile());
      return Optional.of(
          new AgentStatus(
              report.path("agent").asText(),
              report.path("pid").asLong(),
              report.path("state").asText(),
              report.path("reason").textValue(),
              report.path("backlog_bytes").asLong(),
              report.path("last_delivery").isNumber()
                  ? report.path("last_delivery").longValue()
                  : null));
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /** Whether a process with the reported id runs. */
  public boolean isAlive() {
    return ProcessHandle.of(pid).map(ProcessHandle::isAlive).orElse(false);
  }
}
