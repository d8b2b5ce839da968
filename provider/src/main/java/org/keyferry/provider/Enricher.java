package org.keyferry.provider;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jboss.logging.Logger;
import org.keycloak.events.Event;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.AuthDetails;
import org.keycloak.models.ClientModel;
import org.keycloak.models.GroupModel;
import org.keycloak.models.ImpersonationSessionNote;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.OrganizationModel;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.UserModel;
import org.keycloak.models.UserProvider;
import org.keycloak.models.UserSessionModel;
import org.keycloak.organization.OrganizationProvider;
import org.keycloak.sessions.AuthenticationSessionModel;
import org.keycloak.storage.StorageId;
import org.keycloak.util.JsonSerialization;

/**
 * Finds the names that stand behind the ids of an event.
 *
 * <p>What it must not do: throw, or ask anybody outside of Keycloak. Names are looked up by id in
 * what Keycloak holds in its caches and its own database, a bounded number of them for an event; no
 * user federation is ever asked. A name that is not found is left out. A look-up that fails is
 * counted, and the first one is logged.
 */
final class Enricher {
  private static final Logger LOG = Logger.getLogger(Enricher.class);

  /** So many roles, groups, clients or organizations are named in one event. */
  private static final int MOST = 20;

  /** How realms call the components that are user federations. */
  private static final String USER_FEDERATION = "org.keycloak.storage.UserStorageProvider";

  /** What is added to events. */
  enum Part {
    USERNAME,
    CLIENT,
    ROLES,
    GROUPS,
    IMPERSONATOR,
    ORGANIZATION;

    /** Everything. */
    static Set<Part> all() {
      return EnumSet.allOf(Part.class);
    }

    /** What the option calls it. */
    String option() {
      return name().toLowerCase(Locale.ROOT);
    }

    /** What the option calls them, for people. */
    static String names() {
      return Stream.of(values()).map(Part::option).collect(Collectors.joining(", "));
    }
  }

  private final Set<Part> parts;
  private final LongAdder failures = new LongAdder();
  private final AtomicBoolean told = new AtomicBoolean();

  Enricher(Set<Part> parts) {
    this.parts = parts.isEmpty() ? Set.of() : EnumSet.copyOf(parts);
  }

  /** How many look-ups have failed. */
  long failures() {
    return failures.sum();
  }

  /** The names behind a user event's ids, as a JSON object; {@code null} if there are none. */
  String of(Event event, KeycloakSession session) {
    if (parts.isEmpty() || event.getRealmId() == null) {
      return null;
    }
    return new Names(session, event.getRealmId()).of(event);
  }

  /** The names behind an admin event's ids, as a JSON object; {@code null} if there are none. */
  String of(AdminEvent event, KeycloakSession session) {
    if (parts.isEmpty() || event.getRealmId() == null) {
      return null;
    }
    return new Names(session, event.getRealmId()).of(event);
  }

  private interface LookUp {
    void run() throws JsonProcessingException;
  }

  /** The names of one event. */
  private final class Names {
    private final KeycloakSession session;
    private final String realmId;
    private final ObjectNode found = JsonSerialization.mapper.createObjectNode();

    Names(KeycloakSession session, String realmId) {
      this.session = session;
      this.realmId = realmId;
    }

    String of(Event event) {
      add(Part.USERNAME, () -> putUsername("user", user(realm(), event.getUserId())));
      add(Part.CLIENT, () -> putClient(clientUsedBy(event)));
      add(Part.IMPERSONATOR, () -> putImpersonator(event.getSessionId()));
      add(Part.ORGANIZATION, () -> putOrganizations(event.getUserId()));
      return json();
    }

    String of(AdminEvent event) {
      ResourcePath path = new ResourcePath(event.getResourcePath());
      List<JsonNode> changed = objectsIn(event.getRepresentation());
      AuthDetails auth = event.getAuthDetails();
      add(Part.USERNAME, () -> putUserOf(path, changed));
      if (auth != null) {
        add(Part.USERNAME, () -> putAdministrator(auth));
        add(Part.CLIENT, () -> putAdministratorsClient(auth));
      }
      add(Part.CLIENT, () -> putClients(path, changed));
      add(Part.ROLES, () -> putRoles(event, path, changed));
      add(Part.GROUPS, () -> putGroups(path, changed));
      add(Part.ORGANIZATION, () -> putOrganizationOf(path, changed));
      return json();
    }

    private String json() {
      return found.isEmpty() ? null : found.toString();
    }

    private void add(Part part, LookUp lookUp) {
      if (!parts.contains(part)) {
        return;
      }
      try {
        lookUp.run();
      } catch (JsonProcessingException | RuntimeException | LinkageError e) {
        failures.increment();
        if (told.compareAndSet(false, true)) {
          LOG.warnf(
              "An event is journaled without a name that journal-enrich asks for (%s): %s. Further failures are counted and not logged.",
              part, e.getClass().getName());
        }
      }
    }

    private RealmModel realm() {
      return realm(realmId);
    }

    private RealmModel realm(String id) {
      RealmModel current = session.getContext().getRealm();
      return current != null && current.getId().equals(id)
          ? current
          : session.realms().getRealm(id);
    }

    /**
     * The user: whom the request is about anyway, else from the caches. Where the realm has user
     * federations, a user who is not cached would be validated there: then the row in Keycloak's
     * own database says enough.
     */
    private UserModel user(RealmModel realm, String id) {
      if (realm == null || id == null) {
        return null;
      }
      UserModel present = presentUser(id);
      if (present != null || !StorageId.isLocalStorage(id)) {
        return present;
      }
      UserProvider users =
          hasFederation(realm) ? session.getProvider(UserProvider.class) : session.users();
      return users.getUserById(realm, id);
    }

    private UserModel presentUser(String id) {
      UserSessionModel userSession = session.getContext().getUserSession();
      AuthenticationSessionModel login = session.getContext().getAuthenticationSession();
      return Stream.of(
              userSession == null ? null : userSession.getUser(),
              login == null ? null : login.getAuthenticatedUser())
          .filter(user -> user != null && id.equals(user.getId()))
          .findFirst()
          .orElse(null);
    }

    private static boolean hasFederation(RealmModel realm) {
      return realm.getComponentsStream(realm.getId(), USER_FEDERATION).findAny().isPresent();
    }

    private void putUsername(String role, UserModel user) {
      if (user != null) {
        putUsername(role, user.getUsername());
      }
    }

    private void putUsername(String role, String username) {
      if (username != null) {
        found.putObject(role).put("username", username);
      }
    }

    /** The user whom an administrator acted on. */
    private void putUserOf(ResourcePath path, List<JsonNode> changed) {
      String id = path.idAfter("users");
      if (id == null) {
        id = path.idAfter("members");
      }
      UserModel user = user(realm(), id);
      putUsername("user", user != null ? user.getUsername() : textOf(changed, id, "username"));
    }

    private void putAdministrator(AuthDetails auth) {
      if (auth.getRealmId() != null) {
        putUsername("administrator", user(realm(auth.getRealmId()), auth.getUserId()));
      }
    }

    /**
     * The client by its {@code clientId}; of failed requests only where Keycloak knows it already.
     */
    private ClientModel clientUsedBy(Event event) {
      String clientId = event.getClientId();
      ClientModel current = session.getContext().getClient();
      if (clientId == null || current != null && clientId.equals(current.getClientId())) {
        return clientId == null ? null : current;
      }
      RealmModel realm = event.getError() == null ? realm() : null;
      return realm == null ? null : session.clients().getClientByClientId(realm, clientId);
    }

    private ClientModel client(RealmModel realm, String id) {
      boolean isThere = realm != null && id != null && StorageId.isLocalStorage(id);
      return isThere ? session.clients().getClientById(realm, id) : null;
    }

    private void putClient(ClientModel client) {
      if (client != null) {
        describe(client, found.putObject("client"));
      }
    }

    private void putAdministratorsClient(AuthDetails auth) {
      if (auth.getRealmId() != null) {
        putClient(client(realm(auth.getRealmId()), auth.getClientId()));
      }
    }

    private void putClients(ResourcePath path, List<JsonNode> changed) {
      String id = path.idAfter("clients");
      if (id == null) {
        return;
      }
      ClientModel client = client(realm(), id);
      if (client != null) {
        describe(client, named("clients", id));
      } else {
        putText("clients", id, "clientId", textOf(changed, id, "clientId"));
      }
    }

    private static void describe(ClientModel client, ObjectNode into) {
      into.put("clientId", client.getClientId());
      if (client.getName() != null && !client.getName().isEmpty()) {
        into.put("name", client.getName());
      }
    }

    /** Of a mapping the roles that its representation lists, else the role that the path names. */
    private void putRoles(AdminEvent event, ResourcePath path, List<JsonNode> changed) {
      String byId = path.idAfter("roles-by-id");
      if (byId != null) {
        putRole(byId, textOf(changed, byId, "name"));
      } else if (path.isMapping()) {
        changed.stream()
            .filter(role -> role.hasNonNull("id"))
            .limit(MOST)
            .forEach(role -> putRole(role.get("id").asText(), role.path("name").asText(null)));
      }
    }

    private void putRole(String id, String otherwise) {
      RoleModel role =
          realm() == null || !StorageId.isLocalStorage(id)
              ? null
              : session.roles().getRoleById(realm(), id);
      putText("roles", id, "name", role != null ? role.getName() : otherwise);
    }

    private void putGroups(ResourcePath path, List<JsonNode> changed) {
      String id = path.idAfter("groups");
      if (id == null) {
        return;
      }
      RealmModel realm = realm();
      GroupModel group =
          realm == null || !StorageId.isLocalStorage(id)
              ? null
              : session.groups().getGroupById(realm, id);
      if (group != null) {
        named("groups", id).put("name", group.getName()).put("path", pathOf(group));
      } else {
        putText("groups", id, "name", textOf(changed, id, "name"));
      }
    }

    /** As Keycloak writes it: {@code /ship/crew}. */
    private static String pathOf(GroupModel group) {
      StringBuilder path = new StringBuilder();
      GroupModel one = group;
      for (int depth = 0; one != null && depth < MOST; depth++) {
        String name = one.getName();
        path.insert(0, "/" + (one.escapeSlashesInGroupPath() ? name.replace("/", "~/") : name));
        one = one.getParent();
      }
      return path.toString();
    }

    private void putImpersonator(String sessionId) {
      if (sessionId == null) {
        return;
      }
      UserSessionModel current = session.getContext().getUserSession();
      RealmModel realm = realm();
      UserSessionModel userSession =
          current != null && sessionId.equals(current.getId()) || realm == null
              ? current
              : session.sessions().getUserSession(realm, sessionId);
      if (userSession == null || !sessionId.equals(userSession.getId())) {
        return;
      }
      String id = userSession.getNote(ImpersonationSessionNote.IMPERSONATOR_ID.toString());
      String name = userSession.getNote(ImpersonationSessionNote.IMPERSONATOR_USERNAME.toString());
      if (id != null || name != null) {
        ObjectNode impersonator = found.putObject("impersonator");
        putIfThere(impersonator, "id", id);
        putIfThere(impersonator, "username", name);
      }
    }

    /** The organizations that a user acts for: that of the request, else those of the user. */
    private void putOrganizations(String userId) {
      OrganizationModel current = session.getContext().getOrganization();
      if (current != null) {
        putOrganization(current);
        return;
      }
      OrganizationProvider organizations = organizations();
      UserModel user = organizations == null ? null : user(realm(), userId);
      if (user != null) {
        organizations.getByMember(user).limit(MOST).forEach(this::putOrganization);
      }
    }

    private void putOrganizationOf(ResourcePath path, List<JsonNode> changed) {
      String id = path.idAfter("organizations");
      OrganizationProvider organizations = id == null ? null : organizations();
      OrganizationModel organization = organizations == null ? null : organizations.getById(id);
      if (organization != null) {
        putOrganization(organization);
      } else if (id != null) {
        putText("organizations", id, "name", textOf(changed, id, "name"));
      }
    }

    /** Keycloak's organizations are those of the request's realm. */
    private OrganizationProvider organizations() {
      RealmModel current = session.getContext().getRealm();
      boolean has =
          current != null && current.getId().equals(realmId) && current.isOrganizationsEnabled();
      return has ? session.getProvider(OrganizationProvider.class) : null;
    }

    private void putOrganization(OrganizationModel organization) {
      named("organizations", organization.getId())
          .put("alias", organization.getAlias())
          .put("name", organization.getName());
    }

    /** A new entry of the list, with its id. */
    private ObjectNode named(String list, String id) {
      ArrayNode entries = found.withArray(list);
      return entries.addObject().put("id", id);
    }

    private void putText(String list, String id, String name, String text) {
      if (text != null) {
        named(list, id).put(name, text);
      }
    }

    private static void putIfThere(ObjectNode into, String name, String text) {
      if (text != null) {
        into.put(name, text);
      }
    }
  }

  /** The objects of a representation: the only one, or those that it lists. */
  private static List<JsonNode> objectsIn(String representation) {
    if (representation == null || representation.isEmpty()) {
      return List.of();
    }
    try {
      JsonNode tree = JsonSerialization.mapper.readTree(representation);
      if (tree.isObject()) {
        return List.of(tree);
      }
      return Stream.iterate(0, i -> i < tree.size(), i -> i + 1).map(tree::get).toList();
    } catch (JsonProcessingException e) {
      // Not every representation is JSON.
      return List.of();
    }
  }

  /** What the representation says of an object that is gone, or that is not there yet. */
  private static String textOf(List<JsonNode> changed, String id, String name) {
    return changed.stream()
        .filter(object -> id != null && id.equals(object.path("id").asText(null)))
        .map(object -> object.path(name).asText(null))
        .filter(Objects::nonNull)
        .findFirst()
        .orElse(null);
  }
}
