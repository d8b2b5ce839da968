package org.keyferry.provider;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.keycloak.events.Event;
import org.keycloak.util.JsonSerialization;

class SecretMaskTest {
  private record Case(String given, String told) {}

  /** What the agent is held to as well, where the text is a representation. */
  private static List<Case> cases() throws IOException {
    Path path =
        Path.of(System.getProperty("keyferry.repository"), "testdata", "secrets", "cases.json");
    return List.of(JsonSerialization.readValue(Files.readString(path), Case[].class));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void whatIsASecretByItsNameOrItsShapeIsMasked(Case one) {
    assertEquals(one.told(), SecretMask.without(one.given()));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void whatHoldsNoSecretStaysAsItIs(Case one) {
    if (one.given().equals(one.told())) {
      assertSame(one.given(), SecretMask.without(one.given()));
    }
  }

  @Test
  void whereThereIsNoRepresentationThereIsNone() {
    assertNull(SecretMask.without((String) null));
  }

  /** A text that is made to be searched again and again is gone through once. */
  @Test
  void manyBeginningsOfTokensAreSearchedInLinearTime() {
    String text = "eyJaaaaaaaa.".repeat(200_000) + "eyJ" + "a".repeat(2_000_000);
    assertTrue(SecretMask.without(text).startsWith("*"));
    String none = "eyJaaaaaaaa ".repeat(200_000) + "a".repeat(2_000_000);
    assertSame(none, SecretMask.without(none));
  }

  @Test
  void detailsAreMaskedInACopy() {
    Event event = new Event();
    event.setUserId("u");
    event.setDetails(new HashMap<>(Map.of("refresh_token", "s", "username", "carol")));
    Event masked = SecretMask.without(event);
    assertEquals(Map.of("refresh_token", "**********", "username", "carol"), masked.getDetails());
    assertEquals("u", masked.getUserId());
    assertEquals("s", event.getDetails().get("refresh_token"));
    Event tried = new Event();
    tried.setDetails(Map.of("username", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"));
    assertEquals(Map.of("username", "**********"), SecretMask.without(tried).getDetails());
    Event harmless = new Event();
    harmless.setDetails(Map.of("refresh_token_id", "r"));
    assertSame(harmless, SecretMask.without(harmless));
    assertSame(masked, SecretMask.without(masked));
  }
}
