package org.keyferry.provider;

import java.time.Clock;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.keycloak.events.Event;
import org.keycloak.events.EventQuery;
import org.keycloak.events.EventStoreProvider;
import org.keycloak.events.EventType;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.AdminEventQuery;
import org.keycloak.events.admin.OperationType;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.models.RealmModel;
import org.keycloak.models.utils.KeycloakModelUtils;
import org.keyferry.journal.EventKind;
import org.keyferry.journal.EventReference;
import org.keyferry.journal.OutcomeStore;

/**
 * Asks Keycloak's event store whether a transaction committed: the store writes its events in the
 * same database transaction.
 *
 * <p>An event that is found proves the commit. That an event is absent proves the opposite only if
 * the store would still hold it: the realm stores such events, and one of the type that the realm
 * raised before it is still there. So neither a store that was switched on later, nor one that was
 * cleared or has let its events expire, is taken for a rollback.
 */
final class KeycloakEventStore implements OutcomeStore {
  /** The only store that writes in the transaction of Keycloak's own database. */
  private static final String TRANSACTIONAL_STORE = "jpa";

  private static final String ADMIN_EXPIRATION = "adminEventsExpiration";

  private final KeycloakSessionFactory sessions;

  KeycloakEventStore(KeycloakSessionFactory sessions) {
    this.sessions = sessions;
  }

  @Override
  public Verdict outcomeOf(List<EventReference> events) {
    return KeycloakModelUtils.runJobInTransactionWithResult(
        sessions, session -> outcomeOf(events, session, Clock.systemUTC()));
  }

  static Verdict outcomeOf(List<EventReference> events, KeycloakSession session, Clock clock) {
    EventStoreProvider store = session.getProvider(EventStoreProvider.class);
    if (store == null || !isTransactional(session)) {
      return Verdict.UNKNOWN;
    }
    Set<Verdict> verdicts =
        events.stream()
            .filter(event -> event.id() != null && event.realmId() != null && event.type() != null)
            .map(event -> outcomeOf(event, session, store, clock))
            .collect(Collectors.toSet());
    if (verdicts.contains(Verdict.COMMITTED)) {
      return Verdict.COMMITTED;
    }
    return verdicts.contains(Verdict.ABORTED) ? Verdict.ABORTED : Verdict.UNKNOWN;
  }

  private static boolean isTransactional(KeycloakSession session) {
    return TRANSACTIONAL_STORE.equals(
        session.getKeycloakSessionFactory().getProviderFactory(EventStoreProvider.class).getId());
  }

  private static Verdict outcomeOf(
      EventReference event, KeycloakSession session, EventStoreProvider store, Clock clock) {
    if (ids(event, store).anyMatch(event.id()::equals)) {
      return Verdict.COMMITTED;
    }
    RealmModel realm = session.realms().getRealm(event.realmId());
    boolean wouldBeThere =
        realm != null
            && isStored(event, realm)
            && !isExpired(event, realm, clock)
            && holdsEarlierEvent(event, store);
    return wouldBeThere ? Verdict.ABORTED : Verdict.UNKNOWN;
  }

  /** The ids of the stored events of this kind and type and about this time. */
  private static Stream<String> ids(EventReference event, EventStoreProvider store) {
    long from = event.time() - 1;
    long to = event.time() + 1;
    Stream<String> ids =
        event.kind() == EventKind.USER
            ? userEvents(event, store).fromDate(from).toDate(to).getResultStream().map(Event::getId)
            : adminEvents(event, store)
                .fromTime(from)
                .toTime(to)
                .getResultStream()
                .map(AdminEvent::getId);
    return ids.filter(Objects::nonNull);
  }

  private static boolean holdsEarlierEvent(EventReference event, EventStoreProvider store) {
    long before = event.time() - 1;
    Stream<?> earlier =
        event.kind() == EventKind.USER
            ? userEvents(event, store).toDate(before).maxResults(1).getResultStream()
            : adminEvents(event, store).toTime(before).maxResults(1).getResultStream();
    return earlier.findAny().isPresent();
  }

  private static EventQuery userEvents(EventReference event, EventStoreProvider store) {
    return store.createQuery().realm(event.realmId()).type(EventType.valueOf(event.type()));
  }

  private static AdminEventQuery adminEvents(EventReference event, EventStoreProvider store) {
    return store
        .createAdminQuery()
        .realm(event.realmId())
        .operation(OperationType.valueOf(event.type()));
  }

  /** As Keycloak itself decides it when it raises an event. */
  private static boolean isStored(EventReference event, RealmModel realm) {
    if (event.kind() == EventKind.ADMIN) {
      return realm.isAdminEventsEnabled();
    }
    Set<String> chosen = realm.getEnabledEventTypesStream().collect(Collectors.toSet());
    boolean type =
        chosen.isEmpty()
            ? EventType.valueOf(event.type()).isSaveByDefault()
            : chosen.contains(event.type());
    return realm.isEventsEnabled() && type;
  }

  private static boolean isExpired(EventReference event, RealmModel realm, Clock clock) {
    long seconds =
        event.kind() == EventKind.USER
            ? realm.getEventsExpiration()
            : realm.getAttribute(ADMIN_EXPIRATION, 0L);
    return seconds > 0 && event.time() + seconds * 1000 <= clock.millis();
  }
}
