package org.keyferry.provider;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import org.keycloak.events.Event;
import org.keycloak.events.EventType;

/**
 * Events of a session as Keycloak makes them, from a seed: of about 590 bytes of JSON, like those
 * that the agent is measured with.
 */
final class SampleEvents {
  /** In the order of a session: a realm's load is a mix of few. */
  private static final EventType[] TYPES = {
    EventType.LOGIN,
    EventType.CODE_TO_TOKEN,
    EventType.REFRESH_TOKEN,
    EventType.REFRESH_TOKEN,
    EventType.LOGOUT,
    EventType.LOGIN_ERROR
  };

  private static final String REALM = "5ac5b6f0-5b7c-4d2e-9a55-1e6f2f7a1c11";

  private final Random random;

  private SampleEvents(long seed) {
    random = new Random(seed);
  }

  /** So many events. */
  static Event[] of(long seed, int count) {
    SampleEvents samples = new SampleEvents(seed);
    Event[] events = new Event[count];
    for (int i = 0; i < count; i++) {
      events[i] = samples.event(TYPES[i % TYPES.length]);
    }
    return events;
  }

  private Event event(EventType type) {
    Event event = new Event();
    event.setId(uuid());
    event.setTime(1_761_640_463_007L + random.nextInt(1_000_000));
    event.setType(type);
    event.setRealmId(REALM);
    event.setRealmName("shop");
    event.setClientId("web");
    event.setUserId(uuid());
    event.setSessionId(uuid());
    event.setIpAddress("192.0.2." + random.nextInt(256));
    event.setError(type == EventType.LOGIN_ERROR ? "invalid_user_credentials" : null);
    event.setDetails(details(type));
    return event;
  }

  private Map<String, String> details(EventType type) {
    Map<String, String> details = new LinkedHashMap<>();
    switch (type) {
      case LOGIN, LOGIN_ERROR -> {
        details.put("auth_method", "openid-connect");
        details.put("auth_type", "code");
        details.put("redirect_uri", "https://shop.example.org/callback");
        details.put("consent", "no_consent_required");
        details.put("code_id", uuid());
      }
      case LOGOUT -> {
        details.put("redirect_uri", "https://shop.example.org/goodbye");
        details.put("logout_token_id", uuid());
        details.put("user_session_id", uuid());
        details.put("response_mode", "query");
        details.put("initiating_idp", "none");
      }
      default -> {
        details.put("token_id", "onrtrt:" + uuid());
        details.put("grant_type", "refresh_token");
        details.put("refresh_token_type", "Refresh");
        details.put("scope", "openid email profile");
        details.put("refresh_token_id", uuid());
        details.put("client_auth_method", "client-secret");
      }
    }
    details.put("username", "user-" + random.nextInt(1000));
    return details;
  }

  private String uuid() {
    return new UUID(random.nextLong(), random.nextLong()).toString();
  }
}
