package org.keyferry.provider;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.keycloak.events.Event;
import org.keycloak.events.EventListenerProvider;
import org.keycloak.events.EventType;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.AuthDetails;
import org.keycloak.events.admin.OperationType;
import org.keycloak.events.admin.ResourceType;
import org.keycloak.models.KeycloakTransaction;
import org.keyferry.journal.Durability;
import org.keyferry.journal.EventJournal;
import org.keyferry.journal.EventKind;
import org.keyferry.journal.Field;
import org.keyferry.journal.Journals;
import org.keyferry.journal.OutcomeStore;

/** The listener under Keycloak's own transaction manager. */
class ListenerTest {
  @TempDir Path temporary;

  private final FakeSession session = new FakeSession();
  private final UnwantedTypes unwanted = new UnwantedTypes(() -> 0);
  private EventJournal journal;
  private Path slot;

  @BeforeEach
  void openJournal() {
    journal = journal(temporary.resolve("journal"));
    slot = journal.status().slot();
  }

  @AfterEach
  void closeJournal() {
    journal.close();
  }

  private static EventJournal journal(Path directory) {
    EventJournal journal =
        new EventJournal(new EventJournal.Settings(directory, "node-a", 64 << 20));
    journal.open(opened -> {});
    return journal;
  }

  private EventListenerProvider listener(Map<String, String> options) {
    Options read = Options.read(MapScope.options(options), Map.of(), System::getProperty);
    return new KeyferryEventListener(
        session.session(), journal, read, unwanted, new Enricher(read.enrich()));
  }

  private EventListenerProvider listener() {
    return listener(Map.of());
  }

  private List<String> records() throws IOException {
    return Journals.records(slot);
  }

  private static Event event(EventType type) {
    Event event = new Event();
    event.setId("e-" + type);
    event.setTime(1_700_000_000_000L);
    event.setType(type);
    event.setRealmId("realm-id");
    event.setRealmName("größe");
    event.setUserId("user-id");
    event.setDetails(new HashMap<>(Map.of("username", "zoë 😀")));
    return event;
  }

  private static AdminEvent adminEvent() {
    AuthDetails auth = new AuthDetails();
    auth.setClientId("client-id");
    auth.setUserId("admin-id");
    AdminEvent event = new AdminEvent();
    event.setId("a-1");
    event.setTime(1_700_000_000_001L);
    event.setRealmId("realm-id");
    event.setRealmName("größe");
    event.setAuthDetails(auth);
    event.setOperationType(OperationType.CREATE);
    event.setResourceType(ResourceType.USER);
    event.setResourcePath("users/42");
    event.setRepresentation("{\"username\":\"zoë\"}");
    return event;
  }

  private static KeycloakTransaction onCommit(Runnable action) {
    return new Step(action, () -> {});
  }

  private static Runnable failure() {
    return () -> {
      throw new IllegalStateException("the database refuses");
    };
  }

  @Test
  void allEventsOfATransactionShareOnePrepareWhicheverListenerTheyComeThrough() throws Exception {
    session.begun();
    listener().onEvent(event(EventType.LOGIN));
    listener().onEvent(adminEvent(), true);
    listener().onEvent(event(EventType.LOGOUT));
    assertEquals(List.of(), records(), "nothing before the prepare phase");
    session.manager().commit();
    assertEquals(List.of("PREPARE 1 of 3", "COMMIT 1"), records());
    assertEquals(2, journal.appended(EventKind.USER));
    assertEquals(1, journal.appended(EventKind.ADMIN));
  }

  @Test
  void theEventsArePreparedBeforeTheDatabaseCommitsAndCommittedAfterIt() throws Exception {
    session.begun();
    listener().onEvent(event(EventType.LOGIN));
    session
        .manager()
        .enlist(
            onCommit(
                () -> {
                  try {
                    assertEquals(List.of("PREPARE 1 of 1"), records());
                  } catch (IOException e) {
                    throw new AssertionError("the journal can be read", e);
                  }
                }));
    session.manager().commit();
    assertEquals(List.of("PREPARE 1 of 1", "COMMIT 1"), records());
  }

  @Test
  void aRollbackBeforeThePreparePhaseLeavesNothing() throws Exception {
    session.begun();
    listener().onEvent(event(EventType.LOGIN));
    session.manager().rollback();
    assertEquals(List.of(), records());
  }

  @Test
  void aDatabaseThatRefusesTheCommitAborts() throws Exception {
    session.begun();
    listener().onEvent(event(EventType.REGISTER));
    session.manager().enlist(onCommit(failure()));
    assertThrows(IllegalStateException.class, () -> session.manager().commit());
    assertEquals(List.of("PREPARE 1 of 1", "ABORT 1"), records());
  }

  @Test
  void aPreparePhaseThatFailsElsewhereAborts() throws Exception {
    session.begun();
    listener().onEvent(event(EventType.REGISTER));
    session.manager().enlistPrepare(onCommit(failure()));
    assertThrows(IllegalStateException.class, () -> session.manager().commit());
    assertEquals(List.of("PREPARE 1 of 1", "ABORT 1"), records());
  }

  @Test
  void anEventAfterThePreparePhaseGetsAPrepareOfItsOwn() throws Exception {
    session.begun();
    EventListenerProvider listener = listener();
    listener.onEvent(event(EventType.LOGIN));
    session.manager().enlist(onCommit(() -> listener.onEvent(event(EventType.LOGOUT))));
    session.manager().commit();
    assertEquals(List.of("PREPARE 1 of 1", "PREPARE 1 of 1", "COMMIT 1"), records());
  }

  @Test
  void anEventAfterThePreparePhaseIsAbortedWithTheOthers() throws Exception {
    session.begun();
    EventListenerProvider listener = listener();
    listener.onEvent(event(EventType.LOGIN));
    session.manager().enlist(onCommit(() -> listener.onEvent(event(EventType.LOGOUT))));
    session.manager().enlist(onCommit(failure()));
    assertThrows(IllegalStateException.class, () -> session.manager().commit());
    assertEquals(List.of("PREPARE 1 of 1", "PREPARE 1 of 1", "ABORT 1"), records());
  }

  @Test
  void aFirstEventDuringTheCommitIsJournaled() throws Exception {
    session.begun();
    EventListenerProvider listener = listener();
    session.manager().enlist(onCommit(() -> listener.onEvent(event(EventType.LOGIN))));
    session.manager().commit();
    assertEquals(List.of("PREPARE 1 of 1", "COMMIT 1"), records());
  }

  @Test
  void eventsOfACompletedTransactionAreCommittedAtOnce() throws Exception {
    session.begun();
    EventListenerProvider listener = listener();
    listener.onEvent(event(EventType.LOGIN));
    session.manager().commit();
    listener.onEvent(event(EventType.LOGOUT));
    listener.onEvent(adminEvent(), true);
    assertEquals(
        List.of(
            "PREPARE 1 of 1",
            "COMMIT 1",
            "PREPARE 2 of 1",
            "COMMIT 2",
            "PREPARE 3 of 1",
            "COMMIT 3"),
        records());
  }

  @Test
  void eventsWithoutATransactionAreCommittedAtOnce() throws Exception {
    listener().onEvent(event(EventType.LOGIN));
    assertEquals(List.of("PREPARE 1 of 1", "COMMIT 1"), records());
  }

  @Test
  void aManagerThatSaysItIsCompletedIsBelieved() throws Exception {
    session.manager(new CompletedManager(session.session()));
    listener().onEvent(event(EventType.LOGIN));
    assertEquals(List.of("PREPARE 1 of 1", "COMMIT 1"), records());
  }

  @Test
  void aSecondTransactionOfTheSessionIsAnother() throws Exception {
    session.begun();
    listener().onEvent(event(EventType.LOGIN));
    session.manager().commit();
    session.manager().begin();
    listener().onEvent(event(EventType.LOGOUT));
    session.manager().rollback();
    assertEquals(List.of("PREPARE 1 of 1", "COMMIT 1"), records());
  }

  @Test
  void aMassChangeIsWrittenInPiecesAndStillOneTransaction() throws Exception {
    session.begun();
    AdminEvent large = adminEvent();
    large.setRepresentation("x".repeat(600_000));
    for (int i = 0; i < 5; i++) {
      listener().onEvent(large, true);
    }
    session.manager().rollback();
    assertEquals(List.of("PREPARE 1 of 2", "PREPARE 1 of 2", "ABORT 1"), records());
  }

  @Test
  void aJournalThatCannotBeWrittenMakesTheTransactionFailWhereThatIsWanted() throws Exception {
    useUnusableJournal();
    session.begun();
    listener(Map.of("journal-overflow", "refuse")).onEvent(event(EventType.LOGIN));
    boolean[] committed = {false};
    session.manager().enlist(onCommit(() -> committed[0] = true));
    EventNotJournaledException error =
        assertThrows(EventNotJournaledException.class, () -> session.manager().commit());
    assertTrue(error.getMessage().contains("journal-overflow=refuse"), error.getMessage());
    assertFalse(committed[0], "the database must not commit");
    assertEquals(1, journal.refused());
    assertEquals(0, journal.dropped(EventKind.USER), "what is refused is not lost");
  }

  @Test
  void aJournalThatCannotBeWrittenLosesEventsAndKeycloakGoesOn() throws Exception {
    useUnusableJournal();
    session.begun();
    listener().onEvent(event(EventType.LOGIN));
    listener().onEvent(adminEvent(), true);
    session.manager().commit();
    assertEquals(1, journal.dropped(EventKind.USER));
    assertEquals(1, journal.dropped(EventKind.ADMIN));
    assertEquals(0, journal.refused());
  }

  @Test
  void eventsOfARolledBackTransactionAreNotCountedAsLost() throws Exception {
    useUnusableJournal();
    session.begun();
    listener().onEvent(event(EventType.LOGIN));
    session.manager().rollback();
    assertEquals(0, journal.dropped(EventKind.USER));
  }

  /** It has room for what it owes to others, and for nothing else. */
  private void useFullJournal() {
    journal.close();
    journal =
        new EventJournal(
            new EventJournal.Settings(
                temporary.resolve("full"),
                "node-a",
                64 << 20,
                Durability.NONE,
                256,
                0,
                OutcomeStore.NONE));
    journal.open(opened -> {});
  }

  @Test
  void atTheCeilingTheTransactionFailsWhereThatIsWanted() {
    useFullJournal();
    session.begun();
    listener(Map.of("journal-overflow", "refuse")).onEvent(event(EventType.LOGIN));
    boolean[] committed = {false};
    session.manager().enlist(onCommit(() -> committed[0] = true));
    assertThrows(EventNotJournaledException.class, () -> session.manager().commit());
    assertFalse(committed[0], "the database must not commit");
    assertEquals(1, journal.refused());
    assertEquals(0, journal.dropped(EventKind.USER));
  }

  @ParameterizedTest
  @ValueSource(strings = {"drop-new", "drop-old"})
  void atTheCeilingEventsAreCountedAndKeycloakGoesOn(String overflow) {
    useFullJournal();
    session.begun();
    listener(Map.of("journal-overflow", overflow)).onEvent(event(EventType.LOGIN));
    listener(Map.of("journal-overflow", overflow)).onEvent(adminEvent(), true);
    session.manager().commit();
    assertEquals(1, journal.dropped(EventKind.USER));
    assertEquals(1, journal.dropped(EventKind.ADMIN));
    assertEquals(0, journal.refused());
    assertTrue(journal.status().problem().contains("journal-max-size"));
  }

  private void useUnusableJournal() throws IOException {
    journal.close();
    Path file = Files.createFile(temporary.resolve("in-the-way"));
    journal = journal(file);
  }

  @Test
  void nothingIsThrownAtKeycloak() {
    session.manager(null);
    listener().onEvent(event(EventType.LOGIN));
    listener().onEvent(adminEvent(), true);
    assertEquals(1, journal.dropped(EventKind.USER));
    assertEquals(1, journal.dropped(EventKind.ADMIN));
  }

  @Test
  void anEventThatHasNoJsonIsLostWithoutBeingQuoted() {
    Event event =
        new Event() {
          @Override
          public String getIpAddress() {
            throw new IllegalStateException("zoë from 192.0.2.7");
          }
        };
    event.setType(EventType.LOGIN);
    listener().onEvent(event);
    assertEquals(1, journal.dropped(EventKind.USER));
    String loss = journal.status().lastLoss();
    assertTrue(loss.contains("JsonMappingException"), loss);
    assertFalse(loss.contains("zoë"), loss);
  }

  @Test
  void whatIsChangedAfterwardsIsJournaledAsItWas() throws Exception {
    session.begun();
    Event event = event(EventType.LOGIN);
    String before = new ObjectMapper().writeValueAsString(event);
    listener().onEvent(event);
    event.getDetails().clear();
    event.setType(EventType.LOGOUT);
    session.manager().commit();
    assertEquals(List.of(before), Journals.bodies(slot));
  }

  @Test
  void theBodyIsTheJsonOfTheListenerThatIsReplacedNullsIncluded() throws Exception {
    Event user = event(EventType.LOGIN_ERROR);
    user.setError("invalid_user_credentials");
    AdminEvent admin = adminEvent();
    AdminEvent bare = new AdminEvent();
    listener().onEvent(user);
    listener().onEvent(admin, true);
    listener().onEvent(bare, true);
    ObjectMapper plain = new ObjectMapper();
    List<String> expected =
        List.of(
            plain.writeValueAsString(user),
            plain.writeValueAsString(admin),
            plain.writeValueAsString(bare));
    assertEquals(expected, Journals.bodies(slot));
    assertTrue(expected.get(0).contains("\"sessionId\":null"));
    assertTrue(expected.get(1).contains("\"resourceTypeAsString\":\"USER\""));
  }

  @Test
  void theRepresentationIsLeftOutWithoutTouchingKeycloaksEvent() throws Exception {
    AdminEvent event = adminEvent();
    String representation = event.getRepresentation();
    listener().onEvent(event, false);
    assertSame(representation, event.getRepresentation());
    event.setRepresentation(null);
    assertEquals(List.of(new ObjectMapper().writeValueAsString(event)), Journals.bodies(slot));
  }

  @Test
  void theFieldsStandBesideTheBody() throws Exception {
    Event user = event(EventType.LOGIN_ERROR);
    user.setClientId("account");
    user.setError("user_not_found");
    AdminEvent admin = adminEvent();
    listener().onEvent(user);
    listener().onEvent(admin, false);
    assertEquals(List.of("e-LOGIN_ERROR", "a-1"), Journals.field(slot, Field.ID));
    assertEquals(List.of("LOGIN_ERROR", "CREATE"), Journals.field(slot, Field.TYPE));
    assertEquals(List.of("realm-id", "realm-id"), Journals.field(slot, Field.REALM_ID));
    assertEquals(List.of("größe", "größe"), Journals.field(slot, Field.REALM_NAME));
    assertEquals(List.of("account", "client-id"), Journals.field(slot, Field.CLIENT));
    assertEquals(List.of("user-id", "admin-id"), Journals.field(slot, Field.USER_ID));
    assertEquals(Arrays.asList(null, "USER"), Journals.field(slot, Field.RESOURCE_TYPE));
    assertEquals(Arrays.asList(null, "users/42"), Journals.field(slot, Field.RESOURCE_PATH));
    assertEquals(Arrays.asList("user_not_found", null), Journals.field(slot, Field.ERROR));
  }

  @Test
  void whatTheAgentSaysThatNobodyWantsIsNotJournaled() throws Exception {
    unwanted.listen(slot);
    Files.writeString(
        slot.resolve("unwanted.json"),
        "{\"version\":1,\"user\":[\"LOGOUT\"],\"admin\":[\"USER.CREATE\"]}");
    listener().onEvent(event(EventType.LOGOUT));
    listener().onEvent(adminEvent(), true);
    listener().onEvent(event(EventType.LOGIN));
    assertEquals(List.of("e-LOGIN"), Journals.field(slot, Field.ID));
    assertEquals(1, unwanted.count(EventKind.USER));
    assertEquals(1, unwanted.count(EventKind.ADMIN));
  }

  @Test
  void secretsAreNotJournaledWhereThatIsWanted() throws Exception {
    AdminEvent change = adminEvent();
    change.setRepresentation("{\"secret\":\"S3cret\"}");
    Event login = event(EventType.LOGIN);
    login.setDetails(Map.of("refresh_token", "S3cret"));
    EventListenerProvider listener = listener(Map.of("journal-redact", "secrets"));
    listener.onEvent(change, true);
    listener.onEvent(login);
    assertFalse(Journals.bodies(slot).toString().contains("S3cret"));
    assertTrue(Journals.bodies(slot).get(0).contains("{\\\"secret\\\":\\\"**********\\\"}"));
    assertEquals("{\"secret\":\"S3cret\"}", change.getRepresentation(), "others get it as it is");
    assertEquals(2, Journals.bodies(slot).size());
    listener().onEvent(change, true);
    assertTrue(Journals.bodies(slot).get(2).contains("S3cret"));
  }

  @Test
  void namesStandBehindWhatIsKeycloaksByteForByte() throws Exception {
    Event event = event(EventType.LOGIN);
    listener().onEvent(event);
    String without = Journals.bodies(slot).get(0);
    session.models(Models.withUser("user-id", "zoë 😀"));
    listener(Map.of("journal-enrich", "username")).onEvent(event);
    String with = Journals.bodies(slot).get(1);
    String prefix = without.substring(0, without.length() - 1);
    assertEquals(prefix + ",\"keyferry\":{\"user\":{\"username\":\"zoë 😀\"}}}", with);
  }

  @Test
  void halfASurrogatePairDoesNotCostTheEvent() throws Exception {
    Event event = event(EventType.LOGIN);
    event.getDetails().put("username", "broken \ud83d end");
    listener().onEvent(event);
    assertTrue(Journals.bodies(slot).get(0).contains("\"username\":\"broken ? end\""));
  }

  @Test
  void onlyTheWantedTypesAreJournaled() throws Exception {
    EventListenerProvider listener = listener(Map.of("events", "LOGOUT", "topic-events", "t"));
    listener.onEvent(event(EventType.LOGIN));
    listener.onEvent(event(EventType.LOGOUT));
    listener.onEvent(adminEvent(), true);
    assertEquals(List.of("LOGOUT"), Journals.field(slot, Field.TYPE));
  }

  @ParameterizedTest
  @CsvSource({
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, true",
    "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, false",
    "00-00000000000000000000000000000000-b7ad6b7169203331-01, false",
    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01, false",
    "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x, false",
    "garbage, false"
  })
  void theRequestsTraceIsTakenIfItIsLegal(String header, boolean legal) throws Exception {
    session.traceparent(header);
    listener().onEvent(event(EventType.LOGIN));
    String recorded = Journals.field(slot, Field.TRACEPARENT).get(0);
    if (legal) {
      assertEquals(header, recorded);
    } else {
      assertNull(recorded);
    }
  }

  @Test
  void keycloaksOwnSpanWinsOverTheHeader() throws Exception {
    session
        .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .span(
            Span.wrap(
                SpanContext.create(
                    "11111111111111111111111111111111",
                    "2222222222222222",
                    TraceFlags.getSampled(),
                    TraceState.getDefault())));
    listener().onEvent(event(EventType.LOGIN));
    assertEquals(
        List.of("00-11111111111111111111111111111111-2222222222222222-01"),
        Journals.field(slot, Field.TRACEPARENT));
  }
}
