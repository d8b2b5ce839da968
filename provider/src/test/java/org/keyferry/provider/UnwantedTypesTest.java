package org.keyferry.provider;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.keycloak.events.Event;
import org.keycloak.events.EventType;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.OperationType;
import org.keycloak.events.admin.ResourceType;
import org.keyferry.journal.EventKind;

class UnwantedTypesTest {
  @TempDir Path slot;

  private long now = Long.MAX_VALUE - 5;
  private final UnwantedTypes unwanted = new UnwantedTypes(() -> now);

  /** As the agent does it. */
  private void say(String json) throws Exception {
    Path temporary = slot.resolve("unwanted.json.tmp");
    Files.writeString(temporary, json);
    Files.move(temporary, slot.resolve("unwanted.json"), StandardCopyOption.ATOMIC_MOVE);
  }

  private void afterASecond() {
    now += TimeUnit.SECONDS.toNanos(1);
  }

  private boolean includes(EventType type) {
    Event event = new Event();
    event.setType(type);
    return unwanted.include(event);
  }

  private boolean includes(OperationType operation) {
    AdminEvent event = new AdminEvent();
    event.setResourceType(ResourceType.USER);
    event.setOperationType(operation);
    return unwanted.include(event);
  }

  @Test
  void onlyWhatTheAgentNamesIsUnwanted() throws Exception {
    unwanted.listen(slot);
    say("{\"version\":1,\"user\":[\"LOGOUT\",\"OF_NEXT_YEAR\"],\"admin\":[\"USER.CREATE\"]}");
    assertTrue(includes(EventType.LOGOUT));
    assertFalse(includes(EventType.LOGIN));
    assertFalse(includes((EventType) null));
    assertTrue(includes(OperationType.CREATE));
    assertFalse(includes(OperationType.DELETE));
    assertEquals(1, unwanted.count(EventKind.USER));
    assertEquals(1, unwanted.count(EventKind.ADMIN));
  }

  @Test
  void whatTheAgentSaysAnewHoldsWithinASecondAlsoWhenTheClockWraps() throws Exception {
    unwanted.listen(slot);
    assertFalse(includes(EventType.LOGOUT));
    say("{\"version\":1,\"user\":[\"LOGOUT\"],\"admin\":[]}");
    afterASecond();
    assertTrue(includes(EventType.LOGOUT));
    say("{\"version\":1,\"user\":[],\"admin\":[]}");
    afterASecond();
    assertFalse(includes(EventType.LOGOUT));
    say("{\"version\":1,\"user\":[\"LOGOUT\"],\"admin\":[]}");
    afterASecond();
    assertTrue(includes(EventType.LOGOUT));
    Files.delete(slot.resolve("unwanted.json"));
    afterASecond();
    assertFalse(includes(EventType.LOGOUT), "without an agent that says so, nothing is unwanted");
  }

  @Test
  void whatAnAgentHasSaidBeforeIsForgotten() throws Exception {
    say("{\"version\":1,\"user\":[\"LOGOUT\"],\"admin\":[]}");
    assertFalse(includes(EventType.LOGOUT));
    unwanted.listen(slot);
    assertFalse(includes(EventType.LOGOUT));
    assertFalse(Files.exists(slot.resolve("unwanted.json")));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "{",
        "[]",
        "{\"version\":2,\"user\":[\"LOGOUT\"],\"admin\":[]}",
        "{\"user\":[\"LOGOUT\"]}"
      })
  void whatIsNotUnderstoodLetsEverythingBeJournaled(String said) throws Exception {
    unwanted.listen(slot);
    say("{\"version\":1,\"user\":[\"LOGOUT\"],\"admin\":[]}");
    assertTrue(includes(EventType.LOGOUT));
    say(said);
    afterASecond();
    assertFalse(includes(EventType.LOGOUT));
  }
}
