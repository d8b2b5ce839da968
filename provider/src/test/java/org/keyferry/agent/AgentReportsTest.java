package org.keyferry.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the agent says: its log and its status. */
class AgentReportsTest {
  @TempDir Path slot;

  private static final class Recorder extends Handler {
    private final List<String> lines = new ArrayList<>();

    @Override
    public void publish(LogRecord record) {
      lines.add(record.getLevel() + " " + record.getMessage());
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }

  @Test
  void theAgentsLogIsPassedOnByItsLevel() {
    String name = AgentReportsTest.class.getName();
    Logger logger = Logger.getLogger(name);
    Recorder recorder = new Recorder();
    logger.addHandler(recorder);
    logger.setUseParentHandlers(false);
    String log =
        """
        {"timestamp":"t","level":"INFO","message":"quiet","target":"keyferry"}
        {"timestamp":"t","level":"WARN","message":"100% slow","target":"keyferry"}
        {"timestamp":"t","level":"ERROR","message":"broken","target":"keyferry"}

        thread 'main' panicked
        42
        """;
    new AgentLog(org.jboss.logging.Logger.getLogger(name))
        .passOn(new ByteArrayInputStream(log.getBytes(StandardCharsets.UTF_8)));
    assertEquals(
        List.of("WARN 100% slow", "ERROR broken", "WARN thread 'main' panicked", "WARN 42"),
        recorder.lines);
  }

  @Test
  void theStatusIsRead() throws Exception {
    Files.writeString(
        slot.resolve("status.json"),
        "{\"version\":1,\"agent\":\"0.1.0\",\"pid\":"
            + ProcessHandle.current().pid()
            + ",\"state\":\"blocked\",\"reason\":\"no broker\",\"backlog_bytes\":4096,"
            + "\"last_delivery\":1700000000000,\"later\":{}}");
    AgentStatus status = AgentStatus.read(slot).orElseThrow();
    assertEquals("blocked", status.state());
    assertEquals("no broker", status.reason());
    assertEquals(4096, status.backlogBytes());
    assertEquals(1700000000000L, status.lastDelivery());
    assertTrue(status.isAlive());
  }

  @Test
  void aStatusThatIsMissingOrBrokenIsNone() throws Exception {
    assertEquals(Optional.empty(), AgentStatus.read(slot));
    Files.writeString(slot.resolve("status.json"), "{\"version\":");
    assertEquals(Optional.empty(), AgentStatus.read(slot));
    Files.writeString(slot.resolve("status.json"), "{\"reason\":null,\"last_delivery\":null}");
    assertFalse(AgentStatus.read(slot).orElseThrow().isAlive());
  }
}
