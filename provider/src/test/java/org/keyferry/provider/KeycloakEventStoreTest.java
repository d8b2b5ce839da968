package org.keyferry.provider;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.keyferry.provider.FakeSession.FLUENT;
import static org.keyferry.provider.FakeSession.proxy;

import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.keycloak.events.Event;
import org.keycloak.events.EventQuery;
import org.keycloak.events.EventStoreProvider;
import org.keycloak.events.EventStoreProviderFactory;
import org.keycloak.events.EventType;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.AdminEventQuery;
import org.keycloak.events.admin.OperationType;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RealmProvider;
import org.keyferry.journal.EventKind;
import org.keyferry.journal.EventReference;
import org.keyferry.journal.OutcomeStore.Verdict;

/** What the event store proves, and what it does not. */
class KeycloakEventStoreTest {
  private static final long TIME = 1_700_000_000_000L;
  private static final String REALM = "r1";

  private final List<Stored> stored = new ArrayList<>();
  private String store = "jpa";
  private boolean realmExists = true;
  private boolean eventsEnabled = true;
  private boolean adminEventsEnabled = true;
  private Set<String> types = Set.of();
  private long expiration;
  private long adminExpiration;

  private record Stored(EventKind kind, String realm, String type, String id, long time) {}

  @BeforeEach
  void theRealmHasRaisedEventsBefore() {
    stored.add(new Stored(EventKind.USER, REALM, "LOGIN", "earlier", TIME - 60_000));
    stored.add(new Stored(EventKind.ADMIN, REALM, "CREATE", "earlier", TIME - 60_000));
  }

  private static EventReference user(String id) {
    return new EventReference(EventKind.USER, TIME, id, "LOGIN", REALM);
  }

  private static EventReference admin(String id) {
    return new EventReference(EventKind.ADMIN, TIME, id, "CREATE", REALM);
  }

  private Verdict ask(EventReference... events) {
    Clock clock = Clock.fixed(Instant.ofEpochMilli(TIME + 10_000), ZoneOffset.UTC);
    return KeycloakEventStore.outcomeOf(List.of(events), session(), clock);
  }

  @Test
  void anEventThatIsFoundProvesTheCommit() {
    stored.add(new Stored(EventKind.USER, REALM, "LOGIN", "u", TIME));
    stored.add(new Stored(EventKind.ADMIN, REALM, "CREATE", "a", TIME));
    assertEquals(Verdict.COMMITTED, ask(user("u")));
    assertEquals(Verdict.COMMITTED, ask(admin("a")));
    assertEquals(Verdict.COMMITTED, ask(user("not stored"), admin("a")));
    eventsEnabled = false;
    assertEquals(Verdict.COMMITTED, ask(user("u")), "whatever the realm stores now");
  }

  @Test
  void anEventThatIsMissingWhereItWouldBeProvesTheRollback() {
    stored.add(new Stored(EventKind.USER, REALM, "LOGIN", "another one", TIME));
    stored.add(new Stored(EventKind.USER, "r2", "LOGIN", "u", TIME));
    assertEquals(Verdict.ABORTED, ask(user("u")));
    assertEquals(Verdict.ABORTED, ask(admin("a")));
  }

  @Test
  void whatTheRealmDoesNotStoreProvesNothing() {
    eventsEnabled = false;
    adminEventsEnabled = false;
    assertEquals(Verdict.UNKNOWN, ask(user("u"), admin("a")));
    eventsEnabled = true;
    types = Set.of("LOGOUT");
    assertEquals(Verdict.UNKNOWN, ask(user("u")));
    types = Set.of("LOGIN");
    assertEquals(Verdict.ABORTED, ask(user("u")));
    types = Set.of();
    EventReference notByDefault =
        new EventReference(EventKind.USER, TIME, "u", "REFRESH_TOKEN", REALM);
    assertEquals(Verdict.UNKNOWN, ask(notByDefault));
  }

  @Test
  void whatHasExpiredProvesNothing() {
    expiration = 10;
    adminExpiration = 10;
    assertEquals(Verdict.UNKNOWN, ask(user("u"), admin("a")));
    expiration = 11;
    assertEquals(Verdict.ABORTED, ask(user("u")));
  }

  @Test
  void aStoreThatHoldsNothingEarlierProvesNothing() {
    stored.clear();
    assertEquals(Verdict.UNKNOWN, ask(user("u"), admin("a")), "it may be new, or cleared");
    stored.add(new Stored(EventKind.USER, REALM, "LOGIN", "later", TIME + 5_000));
    stored.add(new Stored(EventKind.USER, REALM, "LOGOUT", "of another type", TIME - 5_000));
    assertEquals(Verdict.UNKNOWN, ask(user("u")), "the type may be stored since today");
    stored.add(new Stored(EventKind.USER, REALM, "LOGIN", "earlier", TIME - 5_000));
    assertEquals(Verdict.ABORTED, ask(user("u")));
  }

  @Test
  void anotherStoreIsNotPartOfTheTransaction() {
    stored.add(new Stored(EventKind.USER, REALM, "LOGIN", "u", TIME));
    store = "cassandra";
    assertEquals(Verdict.UNKNOWN, ask(user("u")));
  }

  @Test
  void withoutRealmOrIdentityNothingCanBeTold() {
    assertEquals(
        Verdict.UNKNOWN, ask(new EventReference(EventKind.USER, TIME, null, "LOGIN", REALM)));
    assertEquals(Verdict.UNKNOWN, ask(new EventReference(EventKind.USER, TIME, "u", null, REALM)));
    assertEquals(
        Verdict.UNKNOWN, ask(new EventReference(EventKind.USER, TIME, "u", "LOGIN", null)));
    realmExists = false;
    assertEquals(Verdict.UNKNOWN, ask(user("u")));
  }

  private KeycloakSession session() {
    EventStoreProvider provider =
        proxy(
            EventStoreProvider.class,
            (method, arguments) ->
                switch (method) {
                  case "createQuery" -> query(EventKind.USER, EventQuery.class);
                  case "createAdminQuery" -> query(EventKind.ADMIN, AdminEventQuery.class);
                  default -> throw new UnsupportedOperationException(method);
                });
    EventStoreProviderFactory factory =
        proxy(EventStoreProviderFactory.class, (method, arguments) -> store);
    KeycloakSessionFactory sessions =
        proxy(KeycloakSessionFactory.class, (method, arguments) -> factory);
    RealmProvider realms =
        proxy(RealmProvider.class, (method, arguments) -> realmExists ? realm() : null);
    return proxy(
        KeycloakSession.class,
        (method, arguments) ->
            switch (method) {
              case "getProvider" -> provider;
              case "getKeycloakSessionFactory" -> sessions;
              case "realms" -> realms;
              default -> throw new UnsupportedOperationException(method);
            });
  }

  private RealmModel realm() {
    return proxy(
        RealmModel.class,
        (method, arguments) ->
            switch (method) {
              case "isEventsEnabled" -> eventsEnabled;
              case "isAdminEventsEnabled" -> adminEventsEnabled;
              case "getEnabledEventTypesStream" -> types.stream();
              case "getEventsExpiration" -> expiration;
              case "getAttribute" -> adminExpiration;
              default -> throw new UnsupportedOperationException(method);
            });
  }

  private <T> T query(EventKind kind, Class<T> type) {
    List<Stored> result = new ArrayList<>(stored);
    result.removeIf(event -> event.kind() != kind);
    return proxy(
        type,
        (method, arguments) -> {
          switch (method) {
            case "realm" -> result.removeIf(event -> !event.realm().equals(arguments[0]));
            case "type" ->
                result.removeIf(
                    event ->
                        Arrays.stream((EventType[]) arguments[0])
                            .noneMatch(wanted -> wanted.name().equals(event.type())));
            case "operation" ->
                result.removeIf(
                    event ->
                        Arrays.stream((OperationType[]) arguments[0])
                            .noneMatch(wanted -> wanted.name().equals(event.type())));
            case "fromDate", "fromTime" ->
                result.removeIf(event -> event.time() < (long) arguments[0]);
            case "toDate", "toTime" -> result.removeIf(event -> event.time() > (long) arguments[0]);
            case "maxResults" -> {}
            case "getResultStream" -> {
              return events(kind, result);
            }
            default -> throw new UnsupportedOperationException(method);
          }
          return FLUENT;
        });
  }

  private static Stream<?> events(EventKind kind, List<Stored> stored) {
    return stored.stream()
        .map(
            each -> {
              if (kind == EventKind.USER) {
                Event event = new Event();
                event.setId(each.id());
                return event;
              }
              AdminEvent event = new AdminEvent();
              event.setId(each.id());
              return event;
            });
  }
}
