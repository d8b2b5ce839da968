package org.keyferry.provider;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.keycloak.events.Event;

class SecretMaskTest {
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"clientId\":\"web\",\"secret\":\"s\"}|{\"clientId\":\"web\",\"secret\":\"**********\"}",
        "{\"config\":{\"bindCredential\":[\"s\",\"\"],\"n\":[1.5]}}|{\"config\":{\"bindCredential\":[\"**********\",\"\"],\"n\":[1.5]}}",
        "[{\"smtpServer\":{\"password\":7}}]|[{\"smtpServer\":{\"password\":0}}]",
        "{\"type\":\"password\",\"value\":\"s\"}|{\"type\":\"password\",\"value\":\"**********\"}",
        "{\"saml.signing.private.key\":{\"a\":\"s\"}}|{\"saml.signing.private.key\":{\"a\":\"**********\"}}",
        "{\"x\":\"{\\\"CLIENT_SECRET\\\":\\\"s\\\"}\"}|{\"x\":\"{\\\"CLIENT_SECRET\\\":\\\"**********\\\"}\"}",
        "{\"secret\":\"s\"|**********"
      })
  void whatIsASecretByItsNameIsMasked(String representation, String expected) {
    assertEquals(expected, SecretMask.without(representation));
  }

  @ParameterizedTest
  @NullSource
  @ValueSource(
      strings = {
        "",
        "plain",
        "{ \"a\" : 1.50, \"age_of_refresh_token\":\"7\" }",
        "{\"value\":\"v\",\"type\":\"x\"}",
        "{\"secret\":\"${vault.x}\",\"password\":\"\",\"useSecret\":true,\"apiKey\":\"***\"}"
      })
  void whatHoldsNoSecretStaysAsItIs(String representation) {
    assertSame(representation, SecretMask.without(representation));
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
    Event harmless = new Event();
    harmless.setDetails(Map.of("refresh_token_id", "r"));
    assertSame(harmless, SecretMask.without(harmless));
    assertSame(masked, SecretMask.without(masked));
  }
}
