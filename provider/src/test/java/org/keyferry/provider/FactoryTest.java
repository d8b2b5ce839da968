package org.keyferry.provider;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.micrometer.core.instrument.Metrics;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.keycloak.events.Event;
import org.keycloak.events.EventListenerProviderFactory;
import org.keycloak.events.EventType;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.models.utils.PostMigrationEvent;
import org.keycloak.provider.ProviderEvent;
import org.keycloak.provider.ProviderEventListener;
import org.keyferry.journal.Journals;

class FactoryTest {
  @TempDir Path temporary;

  private final KeyferryEventListenerFactory factory = new KeyferryEventListenerFactory();

  private Path journal() {
    return temporary.resolve("journal");
  }

  private void init(Map<String, String> more) {
    Map<String, String> options = new HashMap<>(more);
    options.putIfAbsent("journal-dir", journal().toString());
    options.putIfAbsent("agent", "external");
    factory.init(MapScope.options(options));
  }

  private void login() {
    Event event = new Event();
    event.setType(EventType.LOGIN);
    factory.create(new FakeSession().session()).onEvent(event);
  }

  @Test
  void keycloakFindsTheFactoryUnderTheIdOfTheReplacedListener() {
    assertTrue(
        ServiceLoader.load(EventListenerProviderFactory.class).stream()
            .anyMatch(provider -> provider.type() == KeyferryEventListenerFactory.class));
    assertEquals("kafka", factory.getId());
  }

  @Test
  void initialisationAloneTouchesNothing() {
    init(Map.of("global", "true"));
    assertFalse(Files.exists(journal()), "Keycloak initialises factories at build time too");
    assertTrue(factory.isGlobal());
    factory.close();
  }

  @Test
  void aFactoryCanBeClosedAndStartedAgain() throws Exception {
    for (int life = 0; life < 2; life++) {
      init(Map.of());
      factory.postInit(null);
      login();
      factory.close();
    }
    assertEquals(
        List.of("PREPARE 1 of 1", "COMMIT 1", "CLOSE 0", "PREPARE 1 of 1", "COMMIT 1", "CLOSE 0"),
        Journals.records(journal().resolve("slot-0")));
  }

  @Test
  void aCommandThatIsNoServerJournalsOnlyWhenItRaisesEvents() throws Exception {
    System.setProperty("kc.profile", "nonserver");
    try {
      init(Map.of());
      factory.postInit(null);
      assertFalse(Files.exists(journal()));
      login();
      factory.close();
      assertEquals(3, Journals.records(journal().resolve("slot-0")).size());
    } finally {
      System.clearProperty("kc.profile");
    }
  }

  /** Before it, the event store's tables may be missing or of an older version. */
  @Test
  void withTheEventStoreToAskTheJournalOpensWhenTheDatabaseIsUp() {
    List<ProviderEventListener> listeners = new ArrayList<>();
    KeycloakSessionFactory sessions =
        (KeycloakSessionFactory)
            Proxy.newProxyInstance(
                getClass().getClassLoader(),
                new Class<?>[] {KeycloakSessionFactory.class},
                (self, method, arguments) ->
                    method.getName().equals("register")
                        ? listeners.add((ProviderEventListener) arguments[0])
                        : null);
    init(Map.of("journal-settle", "event-store"));
    factory.postInit(sessions);
    ProviderEvent other = new ProviderEvent() {};
    listeners.forEach(listener -> listener.onEvent(other));
    assertFalse(Files.exists(journal()));
    listeners.forEach(listener -> listener.onEvent(new PostMigrationEvent(sessions)));
    assertTrue(Files.exists(journal()));
    factory.close();
  }

  @Test
  void anUnusableDirectoryIsShownAndKeycloakStarts() throws Exception {
    Files.createFile(journal());
    init(Map.of());
    factory.postInit(null);
    login();
    Map<String, String> info = factory.getOperationalInfo();
    assertTrue(info.get("journal").contains(journal().toString()), info.get("journal"));
    assertEquals("1 user, 0 admin", info.get("dropped events"));
    factory.close();
  }

  @Test
  void theOperationalInfoTellsHowItGoes() throws Exception {
    init(Map.of("journal-segment-size", "huge"));
    factory.postInit(null);
    login();
    Files.writeString(
        journal().resolve("slot-0/status.json"),
        "{\"agent\":\"0.1.0\",\"pid\":"
            + ProcessHandle.current().pid()
            + ",\"state\":\"blocked\",\"reason\":\"no broker\",\"backlog_bytes\":4096,"
            + "\"last_delivery\":1700000000000}");
    Map<String, String> info = factory.getOperationalInfo();
    assertEquals("open", info.get("journal"));
    assertEquals("slot-0", info.get("slot"));
    assertEquals("1 user, 0 admin", info.get("appended events"));
    assertEquals("0", info.get("failed fsyncs"));
    assertEquals("blocked", info.get("agent"));
    assertEquals("no broker", info.get("agent reason"));
    assertEquals("4096", info.get("backlog bytes"));
    assertEquals("2023-11-14T22:13:20Z", info.get("last delivery"));
    assertTrue(info.get("configuration problem 1").contains("journal-segment-size"));
    assertNotNull(info.get("missing options"));
    factory.close();
  }

  @Test
  void theFiguresAreInKeycloaksRegistryForAsLongAsTheProviderLives() {
    SimpleMeterRegistry registry = new SimpleMeterRegistry();
    Metrics.addRegistry(registry);
    try {
      init(Map.of());
      factory.postInit(null);
      login();
      assertEquals(
          1.0,
          registry.get("keyferry.events.appended").tag("kind", "user").functionCounter().count());
      assertEquals(0.0, registry.get("keyferry.agent.up").gauge().value());
      assertNotNull(registry.find("keyferry.events.dropped").functionCounter());
      assertNotNull(registry.find("keyferry.transactions.refused").functionCounter());
      assertNotNull(registry.find("keyferry.journal.fsync.failures").functionCounter());
      assertNotNull(registry.find("keyferry.backlog.bytes").gauge());
      factory.close();
      assertNull(registry.find("keyferry.events.appended").functionCounter());
    } finally {
      Metrics.removeRegistry(registry);
    }
  }
}
