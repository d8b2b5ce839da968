package org.keyferry.provider;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.keycloak.provider.ProviderConfigProperty;

/**
 * An option as the admin console and {@code kc.sh} describe it.
 *
 * @param name in kebab case
 * @param type one of {@link ProviderConfigProperty}'s
 * @param secret whether its value is never shown
 * @param purpose what it does
 * @param defaultValue may be {@code null}
 * @param choices the values it may have; empty if it may have any
 */
record DescribedOption(
    String name,
    String type,
    boolean secret,
    String purpose,
    Object defaultValue,
    List<String> choices) {
  private static final String AGENT_OPTIONS = "agent-options.tsv";

  /** The options that the provider interprets itself. */
  static final List<DescribedOption> OF_PROVIDER =
      List.of(
          text(
              "events",
              "The types of user events that are journaled, separated by commas. Unset: all.",
              null),
          new DescribedOption(
              "global",
              ProviderConfigProperty.BOOLEAN_TYPE,
              false,
              "Whether the events of all realms are journaled, also of those that do not list kafka.",
              false,
              List.of()),
          text(
              "node",
              "The node's name in the journal and in record headers. Unset: the host's name.",
              null),
          text(
              "journal-dir",
              "Where the journal is. Unset: keyferry in Keycloak's data directory.",
              null),
          text(
              "journal-segment-size",
              "The size at which the journal begins its next file.",
              "64MiB"),
          choice(
              "journal-overflow",
              "What happens when an event cannot be journaled: it is counted and Keycloak goes on, Keycloak's transaction fails, or the agent gives up old events at journal-max-size.",
              "drop-new",
              "refuse",
              "drop-old"),
          text(
              "journal-max-size",
              "How large the journal files of a slot may become together: none, or a size of at least four times journal-segment-size.",
              "none"),
          text(
              "journal-min-free",
              "How much must stay free on the journal's file system; below it no event is journaled.",
              "1MiB"),
          choice(
              "journal-fsync",
              "When the journal is forced to disk: never (it survives the end of any process but not a power cut), in an interval, or before each of Keycloak's transactions commits.",
              "never",
              "interval",
              "commit"),
          text(
              "journal-fsync-interval",
              "How often the journal is forced to disk where no transaction waits for it.",
              "1s"),
          choice(
              "journal-settle",
              "Who is asked at the start for the outcome of transactions that the last process left without one: nobody, or Keycloak's event store.",
              "none",
              "event-store"),
          text(
              "journal-enrich",
              "Names that are written beside the ids of events: none, all, or some of username, client, roles, groups, impersonator and organization, separated by commas.",
              "none"),
          choice(
              "journal-unwanted",
              "What becomes of events of types that no destination of the agent wants: they are not journaled, or they are.",
              "skip",
              "keep"),
          choice(
              "journal-redact",
              "What is masked before events are journaled: nothing, or what is a secret by its name or its shape. The agent masks secrets before it publishes in any case.",
              "none",
              "secrets"),
          choice(
              "agent",
              "Who runs the agent: the provider as its child, or somebody else.",
              "child",
              "external"),
          text("agent-path", "The agent's executable. Unset: the one in the jar.", null),
          text(
              "drain-timeout",
              "How long the agent may go on delivering when Keycloak stops.",
              "10s"));

  /** The options that the provider hands over to the agent. */
  static final List<DescribedOption> OF_AGENT = readAgentOptions();

  private static DescribedOption text(String name, String purpose, Object defaultValue) {
    return new DescribedOption(
        name, ProviderConfigProperty.STRING_TYPE, false, purpose, defaultValue, List.of());
  }

  private static DescribedOption choice(String name, String purpose, String... choices) {
    return new DescribedOption(
        name, ProviderConfigProperty.LIST_TYPE, false, purpose, choices[0], List.of(choices));
  }

  private static List<DescribedOption> readAgentOptions() {
    try (InputStream stream = DescribedOption.class.getResourceAsStream(AGENT_OPTIONS);
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8))) {
      List<DescribedOption> options = new ArrayList<>();
      lines
          .lines()
          .filter(line -> !line.isBlank() && !line.startsWith("#"))
          .forEach(line -> options.add(parse(line)));
      return List.copyOf(options);
    } catch (IOException e) {
      throw new UncheckedIOException("The jar is damaged: cannot read " + AGENT_OPTIONS, e);
    }
  }

  private static DescribedOption parse(String line) {
    String[] columns = line.split("\t");
    boolean secret = columns[2].equals("secret");
    String purpose =
        columns[1].equals("-") ? columns[3] : columns[3] + " Variable: " + columns[1] + ".";
    return new DescribedOption(
        columns[0],
        secret ? ProviderConfigProperty.PASSWORD : ProviderConfigProperty.STRING_TYPE,
        secret,
        purpose,
        null,
        List.of());
  }

  ProviderConfigProperty toProperty() {
    ProviderConfigProperty property =
        new ProviderConfigProperty(name, name, purpose, type, defaultValue, secret);
    if (!choices.isEmpty()) {
      property.setOptions(choices);
    }
    return property;
  }
}
