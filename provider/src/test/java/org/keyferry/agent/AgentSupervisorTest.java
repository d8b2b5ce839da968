package org.keyferry.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The supervision of shell scripts that stand for the agent. */
class AgentSupervisorTest {
  private static final AgentSupervisor.Backoff FAST =
      new AgentSupervisor.Backoff(
          Duration.ofMillis(20), Duration.ofMillis(40), Duration.ofMinutes(1));

  @TempDir Path directory;

  private AgentSupervisor supervisor;

  @AfterEach
  void stop() {
    if (supervisor != null) {
      supervisor.close();
    }
  }

  private void supervise(String script) throws IOException {
    Path agent = directory.resolve("agent");
    Files.writeString(agent, "#!/bin/sh\ncd '" + directory + "'\n" + script);
    Files.setPosixFilePermissions(agent, PosixFilePermissions.fromString("rwx------"));
    HandOver handOver =
        new HandOver(
            directory.resolve("slot-0"),
            "node-ä",
            "0.1.0",
            "26.4.7",
            Map.of("topic-events", "t", "sasl-password", "sécret\n\""));
    supervisor = new AgentSupervisor(new GivenExecutable(agent), handOver, FAST);
    supervisor.start();
  }

  private static void await(String what, BooleanSupplier condition) throws InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!condition.getAsBoolean()) {
      assertTrue(System.nanoTime() < deadline, what);
      TimeUnit.MILLISECONDS.sleep(5);
    }
  }

  private Path file(String name) {
    return directory.resolve(name);
  }

  @Test
  void theAgentGetsOneLineOfOptionsAndAnOpenPipe() throws Exception {
    supervise("echo \"$@\" > arguments\nhead -n 1 > line.tmp\nmv line.tmp line\ncat > rest\n");
    await("the line arrives", () -> Files.exists(file("line")));
    JsonNode line = new ObjectMapper().readTree(file("line").toFile());
    assertEquals(1, line.get("version").asInt());
    assertEquals(directory.resolve("slot-0").toString(), line.get("slot").asText());
    assertEquals("node-ä", line.get("node").asText());
    assertEquals("0.1.0", line.get("provider").asText());
    assertEquals("26.4.7", line.get("keycloak").asText());
    assertEquals("t", line.at("/options/topic-events").asText());
    assertEquals("sécret\n\"", line.at("/options/sasl-password").asText());
    assertEquals("run --child\n", Files.readString(file("arguments")));
    assertTrue(supervisor.isAlive());
    assertNull(supervisor.problem());
  }

  @Test
  void closingThePipeDrainsTheAgent() throws Exception {
    supervise("touch begun\ncat > /dev/null\necho drained > drained\n");
    await("the agent begins", () -> Files.exists(file("begun")));
    supervisor.close(Duration.ofSeconds(30));
    assertEquals("drained\n", Files.readString(file("drained")));
    assertFalse(supervisor.isAlive());
  }

  @Test
  void anAgentThatDoesNotDrainInTimeIsKilled() throws Exception {
    supervise("echo $$ > pid.tmp\nmv pid.tmp pid\nexec sleep 600\n");
    await("the agent begins", () -> Files.exists(file("pid")));
    ProcessHandle agent =
        ProcessHandle.of(Long.parseLong(Files.readString(file("pid")).strip())).orElseThrow();
    supervisor.close(Duration.ofMillis(50));
    await("the agent is gone", () -> !agent.isAlive());
  }

  @Test
  void anAgentThatDiesIsStartedAgain() throws Exception {
    supervise("echo run >> runs\ntest $(wc -l < runs) -lt 4 && exit 74\ncat > /dev/null\n");
    await("the fourth run", () -> lines("runs") == 4 && supervisor.isAlive());
  }

  @Test
  void whyItDoesNotRunIsSaid() throws Exception {
    supervise("exit 73\n");
    await(
        "the problem is known",
        () ->
            supervisor.problem() != null
                && supervisor.problem().contains("served by another agent (exit code 73)"));
  }

  @Test
  void aMissingExecutableIsSaidAndTriedAgain() throws Exception {
    HandOver handOver = new HandOver(directory, "", "", "", Map.of());
    Path agent = file("agent");
    supervisor = new AgentSupervisor(new GivenExecutable(agent), handOver, FAST);
    supervisor.start();
    await(
        "the problem is known",
        () -> supervisor.problem() != null && supervisor.problem().contains("agent-path"));
    Files.writeString(agent, "#!/bin/sh\ncat > /dev/null\n");
    Files.setPosixFilePermissions(agent, PosixFilePermissions.fromString("rwx------"));
    await("the agent runs", supervisor::isAlive);
  }

  @Test
  void theEnvironmentIsFiltered() throws Exception {
    supervise("env > env.tmp\nmv env.tmp environment\ncat > /dev/null\n");
    await("the environment is written", () -> Files.exists(file("environment")));
    List<String> foreign =
        Files.readAllLines(file("environment")).stream()
            .map(line -> line.replaceAll("=.*", ""))
            // The shell sets these by itself.
            .filter(name -> !List.of("PWD", "OLDPWD", "SHLVL", "_").contains(name))
            .filter(name -> !AgentEnvironment.passes(name))
            .toList();
    assertEquals(List.of(), foreign);
    assertTrue(System.getenv().keySet().stream().anyMatch(name -> !AgentEnvironment.passes(name)));
  }

  @Test
  void onlyWhatTheAgentUsesPasses() {
    for (String name :
        List.of("PATH", "LC_ALL", "KRB5_CONFIG", "AWS_REGION", "KAFKA_TOPIC", "KEYFERRY_NODE")) {
      assertTrue(AgentEnvironment.passes(name), name);
    }
    for (String name : List.of("KC_DB_PASSWORD", "JAVA_OPTS", "LD_PRELOAD", "XPATH", "PATHS")) {
      assertFalse(AgentEnvironment.passes(name), name);
    }
  }

  @Test
  void theHandOverDoesNotShowItsSecrets() {
    HandOver handOver = new HandOver(directory, "", "", "", Map.of("sasl-password", "hunter2"));
    assertFalse(handOver.toString().contains("hunter2"));
  }

  private long lines(String name) {
    try {
      return Files.exists(file(name)) ? Files.readAllLines(file(name)).size() : 0;
    } catch (IOException e) {
      throw new AssertionError("the test's directory can be read", e);
    }
  }
}
