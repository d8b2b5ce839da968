package org.keyferry.provider;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.keycloak.events.Event;
import org.keycloak.events.EventType;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.AuthDetails;
import org.keycloak.events.admin.OperationType;
import org.keycloak.events.admin.ResourceType;

class EnricherTest {
  private final Models models =
      new Models()
          .user("u-1", "carol")
          .user("a-1", "boss")
          .client("c-1", "web", "Web \"shop\"")
          .role("r-1", "captain")
          .role("r-2", "mate")
          .impersonated("s-1", "a-1", "boss")
          .organization("o-1", "acme", "Acme Ltd");

  private final FakeSession session = new FakeSession().models(models);

  private static Event event() {
    Event event = new Event();
    event.setType(EventType.REFRESH_TOKEN);
    event.setRealmId("realm-id");
    event.setUserId("u-1");
    event.setClientId("web");
    event.setSessionId("s-1");
    return event;
  }

  private static AdminEvent change(String path, String representation) {
    AuthDetails auth = new AuthDetails();
    auth.setRealmId("realm-id");
    auth.setClientId("c-1");
    auth.setUserId("a-1");
    AdminEvent event = new AdminEvent();
    event.setRealmId("realm-id");
    event.setAuthDetails(auth);
    event.setOperationType(OperationType.CREATE);
    event.setResourceType(ResourceType.USER);
    event.setResourcePath(path);
    event.setRepresentation(representation);
    return event;
  }

  private static Enricher enricher(Enricher.Part... parts) {
    return new Enricher(parts.length == 0 ? Enricher.Part.all() : Set.of(parts));
  }

  @Test
  void whatAUserDidIsToldWithAllNames() {
    assertEquals(
        "{\"user\":{\"username\":\"carol\"},"
            + "\"client\":{\"clientId\":\"web\",\"name\":\"Web \\\"shop\\\"\"},"
            + "\"impersonator\":{\"id\":\"a-1\",\"username\":\"boss\"},"
            + "\"organizations\":[{\"id\":\"o-1\",\"alias\":\"acme\",\"name\":\"Acme Ltd\"}]}",
        enricher().of(event(), session.session()));
  }

  @Test
  void rolesThatAreGivenAreToldWithAllNames() {
    AdminEvent event =
        change("users/u-1/role-mappings/realm", "[{\"id\":\"r-1\"},{\"id\":\"r-2\"},{}, 7]");
    assertEquals(
        "{\"user\":{\"username\":\"carol\"},\"administrator\":{\"username\":\"boss\"},"
            + "\"client\":{\"clientId\":\"web\",\"name\":\"Web \\\"shop\\\"\"},"
            + "\"roles\":[{\"id\":\"r-1\",\"name\":\"captain\"},{\"id\":\"r-2\",\"name\":\"mate\"}]}",
        enricher().of(event, session.session()));
  }

  @Test
  void aGroupIsToldWithItsPath() {
    models.group("g-0", "ship", null);
    models.group("g-1", "crew", models.group("g-0"));
    assertEquals(
        "{\"groups\":[{\"id\":\"g-1\",\"name\":\"crew\",\"path\":\"/ship/crew\"}]}",
        enricher(Enricher.Part.GROUPS).of(change("users/u-1/groups/g-1", null), session.session()));
  }

  @Test
  void clientsAndOrganizationsThatWereChangedAreNamed() {
    assertEquals(
        "{\"clients\":[{\"id\":\"c-1\",\"clientId\":\"web\",\"name\":\"Web \\\"shop\\\"\"}]}",
        withoutAdministrator(Enricher.Part.CLIENT, "clients/c-1/roles/reader", null));
    assertEquals(
        "{\"user\":{\"username\":\"carol\"}}",
        withoutAdministrator(Enricher.Part.USERNAME, "organizations/o-1/members/u-1", null));
    assertEquals(
        "{\"organizations\":[{\"id\":\"o-1\",\"alias\":\"acme\",\"name\":\"Acme Ltd\"}]}",
        withoutAdministrator(Enricher.Part.ORGANIZATION, "organizations/o-1/members/u-1", null));
  }

  private String withoutAdministrator(Enricher.Part part, String path, String representation) {
    AdminEvent event = change(path, representation);
    event.setAuthDetails(null);
    return enricher(part).of(event, session.session());
  }

  @Test
  void whatIsGoneHasTheNameThatItsRepresentationSays() {
    assertEquals(
        "{\"user\":{\"username\":\"trent\"}}",
        withoutAdministrator(
            Enricher.Part.USERNAME, "users/gone", "{\"id\":\"gone\",\"username\":\"trent\"}"));
    assertEquals(
        "{\"roles\":[{\"id\":\"gone\",\"name\":\"old\"}]}",
        withoutAdministrator(
            Enricher.Part.ROLES, "roles-by-id/gone", "{\"id\":\"gone\",\"name\":\"old\"}"));
    for (String other :
        new String[] {null, "", "no JSON", "7", "{\"id\":\"x\",\"username\":\"y\"}"}) {
      assertNull(withoutAdministrator(Enricher.Part.USERNAME, "users/gone", other), other);
    }
  }

  @Test
  void aFederationIsNeverAsked() {
    models.federated();
    Event event = event();
    assertEquals(
        "{\"user\":{\"username\":\"carol\"}}",
        enricher(Enricher.Part.USERNAME).of(event, session.session()));
    event.setUserId("f:ldap:carol");
    assertNull(enricher(Enricher.Part.USERNAME).of(event, session.session()));
    assertEquals(List.of("row of user u-1"), models.asked);
  }

  @Test
  void whoSendsRequestsDoesNotHaveClientsLookedUp() {
    Event event = event();
    event.setError("client_not_found");
    assertNull(enricher(Enricher.Part.CLIENT).of(event, session.session()));
    assertEquals(List.of(), models.asked);
  }

  @Test
  void aLookUpThatFailsCostsItsNameAndNothingElse() {
    models.failing();
    Enricher enricher = enricher(Enricher.Part.ROLES, Enricher.Part.USERNAME);
    AdminEvent event = change("users/u-1/role-mappings/realm", "[{\"id\":\"r-1\"}]");
    assertEquals(
        "{\"user\":{\"username\":\"carol\"},\"administrator\":{\"username\":\"boss\"}}",
        enricher.of(event, session.session()));
    assertEquals(1, enricher.failures());
  }

  @Test
  void anEventWithoutIdsHasNoNames() {
    assertNull(enricher().of(new Event(), session.session()));
    Event event = new Event();
    event.setRealmId("elsewhere");
    assertNull(enricher().of(event, session.session()));
    assertNull(new Enricher(Set.of()).of(event(), session.session()));
    assertEquals(List.of(), models.asked);
  }

  @Test
  void theNamesOfOneEventAreBounded() {
    String roles = "{\"id\":\"r-1\"},".repeat(100);
    String json =
        withoutAdministrator(
            Enricher.Part.ROLES,
            "users/u-1/role-mappings/realm",
            "[" + roles.substring(0, roles.length() - 1) + "]");
    assertEquals(20, json.split("r-1").length - 1);
  }
}
