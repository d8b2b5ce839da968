package org.keyferry.provider;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.keycloak.events.EventType;
import org.keycloak.provider.ProviderConfigProperty;
import org.keyferry.journal.Durability;

class OptionsTest {
  private static Options read(Map<String, String> options, Map<String, String> environment) {
    return Options.read(
        MapScope.options(options), environment, Map.of("kc.home.dir", "/opt/keycloak")::get);
  }

  private static Options read(Map<String, String> options) {
    return read(options, Map.of());
  }

  @Test
  void withoutConfigurationEverythingIsJournaledAndTheMissingOptionsAreNamed() {
    Options options = read(Map.of());
    assertEquals(Set.of(EventType.values()), options.filter().types());
    assertTrue(options.filter().adminEvents());
    assertFalse(options.global());
    assertEquals(Path.of("/opt/keycloak/data/keyferry"), options.journalDirectory());
    assertEquals(64 << 20, options.segmentSize());
    assertEquals(
        new Durability(Durability.Fsync.NEVER, Duration.ofSeconds(1), false), options.durability());
    assertEquals(Long.MAX_VALUE, options.maxSize());
    assertEquals(1 << 20, options.minFree());
    assertEquals(Options.Settle.NONE, options.settle());
    assertEquals(Options.Overflow.DROP_NEW, options.overflow());
    assertEquals(Options.AgentMode.CHILD, options.agentMode());
    assertEquals(Duration.ofSeconds(10), options.drainTimeout());
    assertFalse(options.node().isEmpty());
    assertEquals(List.of(), options.problems());
    assertEquals(
        List.of("bootstrap-servers (KAFKA_BOOTSTRAP_SERVERS)", "topic-events (KAFKA_TOPIC)"),
        options.missing());
  }

  @Test
  void everyOptionIsTaken() {
    Options options =
        read(
            Map.ofEntries(
                Map.entry("events", "LOGIN,REGISTER"),
                Map.entry("global", "true"),
                Map.entry("node", "kc-1"),
                Map.entry("journal-dir", "/var/journal/../keyferry"),
                Map.entry("journal-segment-size", "4KiB"),
                Map.entry("journal-overflow", "refuse"),
                Map.entry("journal-max-size", "16KiB"),
                Map.entry("journal-min-free", "0B"),
                Map.entry("journal-fsync", "commit"),
                Map.entry("journal-fsync-interval", "250ms"),
                Map.entry("journal-settle", "event-store"),
                Map.entry("journal-enrich", "username, roles"),
                Map.entry("journal-unwanted", "keep"),
                Map.entry("journal-redact", "secrets"),
                Map.entry("in-doubt", "publish"),
                Map.entry("agent", "external"),
                Map.entry("agent-path", "/usr/bin/keyferry"),
                Map.entry("drain-timeout", "1500ms")));
    assertEquals(Set.of(EventType.LOGIN, EventType.REGISTER), options.filter().types());
    assertTrue(options.global());
    assertEquals("kc-1", options.node());
    assertEquals(Path.of("/var/keyferry"), options.journalDirectory());
    assertEquals(4096, options.segmentSize());
    assertEquals(16384, options.maxSize());
    assertEquals(0, options.minFree());
    assertEquals(
        new Durability(Durability.Fsync.COMMIT, Duration.ofMillis(250), false),
        options.durability());
    assertEquals(Options.Settle.EVENT_STORE, options.settle());
    assertEquals(Options.Unwanted.KEEP, options.unwanted());
    assertEquals(Options.Redact.SECRETS, options.redact());
    assertEquals(Set.of(Enricher.Part.USERNAME, Enricher.Part.ROLES), options.enrich());
    assertEquals(Options.Overflow.REFUSE, options.overflow());
    assertEquals(Options.AgentMode.EXTERNAL, options.agentMode());
    assertEquals(Path.of("/usr/bin/keyferry"), options.agentPath());
    assertEquals(Duration.ofMillis(1500), options.drainTimeout());
    assertEquals(List.of(), options.problems());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "kc.spi-events-listener--kafka--topic-events",
        "kc.spi-events-listener-kafka-topic-events",
        "kc.spi-events-listener--kafka--topicEvents",
        "kc.spi-events-listener-kafka-topicEvents"
      })
  void everySpellingIsOneOption(String property) {
    Options options =
        Options.read(MapScope.of(Map.of(property, "t")), Map.of(), System::getProperty);
    assertEquals(Map.of("topic-events", "t"), options.all());
  }

  @Test
  void optionsThatNobodyDescribesAreHandedOverToo() {
    Options options =
        Options.read(
            MapScope.of(
                Map.of(
                    "kc.spi-events-listener--kafka--librdkafka-client-rack", "a",
                    "kc.spi-events-listener-kafka-librdkafka-debug", "broker",
                    "kc.spi-events-listener--email--from", "x",
                    "kc.db-password", "secret")),
            Map.of(),
            System::getProperty);
    assertEquals(
        Map.of("librdkafka-client-rack", "a", "librdkafka-debug", "broker"), options.all());
  }

  @ParameterizedTest
  @CsvSource({
    "global, yes, true or false",
    "journal-segment-size, 64, size",
    "journal-segment-size, 1KiB, size",
    "journal-segment-size, 2GiB, size",
    "journal-segment-size, 99999999999999GiB, size",
    "journal-overflow, drop, 'drop-new, refuse or drop-old'",
    "journal-fsync, always, 'never, interval or commit'",
    "journal-fsync-interval, 0s, duration",
    "journal-fsync-interval, 2h, duration",
    "journal-max-size, 255MiB, none or a size of at least 4 times journal-segment-size",
    "journal-min-free, none, size",
    "journal-settle, events, none or event-store",
    "journal-unwanted, drop, skip or keep",
    "journal-redact, all, none or secrets",
    "journal-enrich, names, 'username, client, roles, groups, impersonator, organization'",
    "agent, sidecar, child or external",
    "drain-timeout, 10, duration",
    "drain-timeout, 2h, duration"
  })
  void aWrongValueIsAProblemThatNamesOptionValueAndWhatIsExpected(
      String option, String value, String expected) {
    Options options = read(Map.of(option, value));
    assertEquals(1, options.problems().size());
    String problem = options.problems().get(0);
    assertTrue(problem.contains(option), problem);
    assertTrue(problem.contains("'" + value + "'"), problem);
    assertTrue(problem.contains(expected), problem);
    assertEquals(read(Map.of()).segmentSize(), options.segmentSize());
    assertEquals(read(Map.of()).drainTimeout(), options.drainTimeout());
    assertEquals(read(Map.of()).durability(), options.durability());
    assertEquals(read(Map.of()).maxSize(), options.maxSize());
    assertEquals(read(Map.of()).minFree(), options.minFree());
  }

  @Test
  void outcomesAreForcedToDiskUnlessTheAgentIsKnownToPublishWhatIsInDoubt() {
    Map<String, String> none = Map.of();
    assertFalse(read(Map.of("journal-fsync", "commit")).durability().outcomes());
    assertFalse(read(Map.of("in-doubt", "publish", "agent", "external")).durability().outcomes());
    assertTrue(read(Map.of("in-doubt", "hold")).durability().outcomes());
    assertTrue(read(none, Map.of("KEYFERRY_DESTINATION_IN_DOUBT", "drop")).durability().outcomes());
    assertTrue(read(Map.of("agent", "external")).durability().outcomes());
    assertTrue(read(none, Map.of("KEYFERRY_CONFIG", "k.toml")).durability().outcomes());
  }

  @Test
  void theListOfEventsIsTrimmedAndUnknownNamesAreReportedWithTheNearest() {
    Options options = read(Map.of("events", " LOGIN , register,LOGIN_EROR,,"));
    assertEquals(Set.of(EventType.LOGIN, EventType.REGISTER), options.filter().types());
    assertEquals(1, options.problems().size());
    assertTrue(options.problems().get(0).contains("'LOGIN_EROR'"));
    assertTrue(options.problems().get(0).contains("LOGIN_ERROR"));
  }

  @Test
  void optionsWinOverVariables() {
    Map<String, String> variables = Map.of("KAFKA_EVENTS", "LOGOUT", "KAFKA_TOPIC", "t");
    assertEquals(Set.of(EventType.LOGOUT), read(Map.of(), variables).filter().types());
    assertEquals(
        Set.of(EventType.LOGIN), read(Map.of("events", "LOGIN"), variables).filter().types());
  }

  @Test
  void adminEventsAreJournaledWhereTheirTopicIsSetOrNoTopicIs() {
    assertFalse(read(Map.of("topic-events", "t")).filter().adminEvents());
    assertFalse(read(Map.of(), Map.of("KAFKA_TOPIC", "t")).filter().adminEvents());
    assertTrue(read(Map.of("topic-events", "t", "topic-admin-events", "a")).filter().adminEvents());
    assertTrue(
        read(Map.of("topic-events", "t"), Map.of("KAFKA_ADMIN_TOPIC", "a")).filter().adminEvents());
    assertTrue(read(Map.of("bootstrap-servers", "b:9092")).filter().adminEvents());
  }

  @Test
  void theAgentsOwnFileMayNameWhatIsMissing() {
    assertEquals(List.of(), read(Map.of(), Map.of("KEYFERRY_CONFIG", "k.toml")).missing());
    Map<String, String> variables = Map.of("KAFKA_BOOTSTRAP_SERVERS", "b:9092", "KAFKA_TOPIC", " ");
    assertEquals(List.of("topic-events (KAFKA_TOPIC)"), read(Map.of(), variables).missing());
  }

  @Test
  void everyDocumentedOptionIsDescribedAndSecretsAreMarked() throws IOException {
    List<ProviderConfigProperty> properties =
        new KeyferryEventListenerFactory().getConfigMetadata();
    Set<String> described =
        properties.stream().map(ProviderConfigProperty::getName).collect(Collectors.toSet());
    assertEquals(properties.size(), described.size(), "each once");
    assertEquals(described, documented());
    Set<String> secrets =
        properties.stream()
            .filter(ProviderConfigProperty::isSecret)
            .map(ProviderConfigProperty::getName)
            .collect(Collectors.toSet());
    assertEquals(
        Set.of(
            "api-oidc-client-secret",
            "api-token",
            "api-tokens-admin",
            "api-tokens-operator",
            "api-tokens-viewer",
            "metrics-otlp-headers",
            "redaction-hash-key",
            "registry-password",
            "registry-token",
            "sasl-jaas-config",
            "sasl-password",
            "sasl-oauthbearer-client-credentials-client-secret",
            "ssl-key-password",
            "ssl-keystore-key",
            "ssl-keystore-password",
            "ssl-truststore-password"),
        secrets);
  }

  private static Set<String> documented() throws IOException {
    Path documents = Path.of(System.getProperty("keyferry.repository"), "docs");
    String text =
        Files.readString(documents.resolve("configuration.md"))
            + Files.readString(documents.resolve("drop-in.md"));
    // An agent's option, one of the provider's table, one of the drop-in table.
    Pattern option =
        Pattern.compile(
            "(?m)^- Keycloak's option: `([a-z-]+)`|^\\| `([a-z-]+)` \\||^\\| \\S+ \\| `[A-Z_]+` \\| `([a-z-]+)` \\|");
    return option
        .matcher(text)
        .results()
        .map(match -> firstGroup(match.group(1), match.group(2), match.group(3)))
        .collect(Collectors.toSet());
  }

  private static String firstGroup(String... groups) {
    for (String group : groups) {
      if (group != null) {
        return group;
      }
    }
    throw new AssertionError("the pattern has matched");
  }
}
