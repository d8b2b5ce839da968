package org.keyferry.provider;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.keycloak.component.ComponentModel;
import org.keycloak.models.ClientModel;
import org.keycloak.models.ClientProvider;
import org.keycloak.models.GroupModel;
import org.keycloak.models.GroupProvider;
import org.keycloak.models.OrganizationModel;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RealmProvider;
import org.keycloak.models.RoleModel;
import org.keycloak.models.RoleProvider;
import org.keycloak.models.UserModel;
import org.keycloak.models.UserProvider;
import org.keycloak.models.UserSessionModel;
import org.keycloak.models.UserSessionProvider;
import org.keycloak.organization.OrganizationProvider;

/** What a realm {@code realm-id} holds, by ids, and a log of what was asked for. */
final class Models {
  final List<String> asked = new ArrayList<>();
  private final Map<String, UserModel> users = new HashMap<>();
  private final Map<String, ClientModel> clients = new HashMap<>();
  private final Map<String, RoleModel> roles = new HashMap<>();
  private final Map<String, GroupModel> groups = new HashMap<>();
  private final Map<String, UserSessionModel> sessions = new HashMap<>();
  private final Map<String, OrganizationModel> organizations = new HashMap<>();
  private boolean federated;
  private boolean failing;
  private final RealmModel realm =
      FakeSession.proxy(
          RealmModel.class,
          (method, arguments) ->
              switch (method) {
                case "getId" -> "realm-id";
                case "isOrganizationsEnabled" -> true;
                case "getComponentsStream" ->
                    federated ? Stream.of(new ComponentModel()) : Stream.empty();
                default -> throw new UnsupportedOperationException(method);
              });

  static Models withUser(String id, String username) {
    return new Models().user(id, username);
  }

  Models user(String id, String username) {
    users.put(id, model(UserModel.class, Map.of("getId", id, "getUsername", username)));
    return this;
  }

  Models client(String id, String clientId, String name) {
    clients.put(
        id,
        model(ClientModel.class, Map.of("getId", id, "getClientId", clientId, "getName", name)));
    return this;
  }

  Models role(String id, String name) {
    roles.put(id, model(RoleModel.class, Map.of("getName", name)));
    return this;
  }

  Models group(String id, String name, GroupModel parent) {
    Map<String, Object> answers = new HashMap<>(Map.of("getId", id, "getName", name));
    answers.put("getParent", parent);
    answers.put("escapeSlashesInGroupPath", false);
    groups.put(id, model(GroupModel.class, answers));
    return this;
  }

  GroupModel group(String id) {
    return groups.get(id);
  }

  Models impersonated(String sessionId, String id, String username) {
    sessions.put(
        sessionId,
        FakeSession.proxy(
            UserSessionModel.class,
            (method, arguments) ->
                switch (method) {
                  case "getId" -> sessionId;
                  case "getNote" -> arguments[0].equals("IMPERSONATOR_ID") ? id : username;
                  default -> throw new UnsupportedOperationException(method);
                }));
    return this;
  }

  Models organization(String id, String alias, String name) {
    organizations.put(
        id,
        model(OrganizationModel.class, Map.of("getId", id, "getAlias", alias, "getName", name)));
    return this;
  }

  /** The realm has users elsewhere. */
  Models federated() {
    federated = true;
    return this;
  }

  /** Whoever asks for roles is told that the database is away. */
  Models failing() {
    failing = true;
    return this;
  }

  private static <T> T model(Class<T> type, Map<String, ?> answers) {
    return FakeSession.proxy(
        type,
        (method, arguments) -> {
          if (!answers.containsKey(method)) {
            throw new UnsupportedOperationException(method);
          }
          return answers.get(method);
        });
  }

  Object context(String method) {
    return method.equals("getRealm") ? realm : null;
  }

  Object provider(Object type) {
    if (type == UserProvider.class) {
      return users("row of user ");
    }
    return type == OrganizationProvider.class
        ? FakeSession.proxy(
            OrganizationProvider.class,
            (method, arguments) ->
                method.equals("getByMember")
                    ? organizations.values().stream()
                    : organizations.get(arguments[0]))
        : null;
  }

  Object answer(String method) {
    return switch (method) {
      case "users" -> users("user ");
      case "realms" ->
          FakeSession.proxy(
              RealmProvider.class,
              (asked, arguments) -> arguments[0].equals("realm-id") ? realm : null);
      case "clients" -> FakeSession.proxy(ClientProvider.class, this::client);
      case "roles" -> FakeSession.proxy(RoleProvider.class, this::role);
      case "groups" -> lookUp(GroupProvider.class, "group ", groups);
      case "sessions" -> lookUp(UserSessionProvider.class, "session ", sessions);
      default -> throw new UnsupportedOperationException(method);
    };
  }

  private UserProvider users(String what) {
    return lookUp(UserProvider.class, what, users);
  }

  private <T> T lookUp(Class<T> type, String what, Map<String, ?> models) {
    return FakeSession.proxy(
        type,
        (method, arguments) -> {
          asked.add(what + arguments[1]);
          return models.get(arguments[1]);
        });
  }

  private Object client(String method, Object[] arguments) {
    asked.add("client " + arguments[1]);
    return method.equals("getClientById")
        ? clients.get(arguments[1])
        : clients.values().stream()
            .filter(client -> client.getClientId().equals(arguments[1]))
            .findAny()
            .orElse(null);
  }

  private Object role(String method, Object[] arguments) {
    if (failing) {
      throw new IllegalStateException("the database is away");
    }
    asked.add("role " + arguments[1]);
    return roles.get(arguments[1]);
  }
}
