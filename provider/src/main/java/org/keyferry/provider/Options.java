package org.keyferry.provider;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.keycloak.Config;
import org.keycloak.events.EventType;
import org.keyferry.journal.Durability;
import org.keyferry.journal.Durability.Fsync;

/**
 * The provider's configuration.
 *
 * <p>A value that cannot be used never keeps Keycloak from starting: the default holds instead, and
 * the problem is logged as an error and shown in the operational info.
 *
 * @param all every option with a value, for the agent
 * @param problems what is wrong with the configuration; each names option, value and what was
 *     expected
 * @param missing the options without which the agent waits; empty if none is missing
 */
record Options(
    Map<String, String> all,
    EventFilter filter,
    boolean global,
    String node,
    Path journalDirectory,
    long segmentSize,
    Durability durability,
    long maxSize,
    long minFree,
    Overflow overflow,
    Settle settle,
    Set<Enricher.Part> enrich,
    Unwanted unwanted,
    Redact redact,
    AgentMode agentMode,
    Path agentPath,
    Duration drainTimeout,
    List<String> problems,
    List<String> missing) {

  /** What happens when an event cannot be journaled. */
  enum Overflow {
    /** It is counted, and Keycloak goes on. */
    DROP_NEW("drop-new"),
    /** Keycloak's transaction fails. */
    REFUSE("refuse"),
    /** The agent gives up old events; until it has made room, as with {@link #DROP_NEW}. */
    DROP_OLD("drop-old");

    private final String option;

    Overflow(String option) {
      this.option = option;
    }
  }

  /** Who is asked at the start for the outcome of transactions that have none. */
  enum Settle {
    /** Nobody. */
    NONE("none"),
    /** Keycloak's event store. */
    EVENT_STORE("event-store");

    private final String option;

    Settle(String option) {
      this.option = option;
    }
  }

  /** What becomes of events of types that no destination wants. */
  enum Unwanted {
    /** They are not journaled. */
    SKIP("skip"),
    /** They are journaled like others. */
    KEEP("keep");

    private final String option;

    Unwanted(String option) {
      this.option = option;
    }
  }

  /** What of events is masked before they are journaled. */
  enum Redact {
    /** Nothing: the agent masks before it publishes. */
    NONE("none"),
    /** What is a secret by its name. */
    SECRETS("secrets");

    private final String option;

    Redact(String option) {
      this.option = option;
    }
  }

  /** Who runs the agent. */
  enum AgentMode {
    /** The provider. */
    CHILD("child"),
    /** Somebody else. */
    EXTERNAL("external");

    private final String option;

    AgentMode(String option) {
      this.option = option;
    }
  }

  private static final long SEGMENT_MIN = 4L << 10;
  private static final long SEGMENT_MAX = 1L << 30;
  private static final long SEGMENTS_MIN = 4;
  private static final Duration FSYNC_INTERVAL_MIN = Duration.ofMillis(10);
  private static final Duration FSYNC_INTERVAL_MAX = Duration.ofHours(1);
  private static final Duration DRAIN_MAX = Duration.ofHours(1);

  /** Reads the configuration from Keycloak's scope, the environment and the system properties. */
  static Options read(
      Config.Scope scope, Map<String, String> environment, Function<String, String> properties) {
    Set<String> described =
        Stream.concat(DescribedOption.OF_PROVIDER.stream(), DescribedOption.OF_AGENT.stream())
            .map(DescribedOption::name)
            .collect(Collectors.toSet());
    return new Reader(OptionScope.read(scope, described), environment, properties).read();
  }

  private record Reader(
      Map<String, String> all,
      Map<String, String> environment,
      Function<String, String> properties,
      List<String> problems) {

    Reader(
        Map<String, String> all,
        Map<String, String> environment,
        Function<String, String> properties) {
      this(all, environment, properties, new ArrayList<>());
    }

    Options read() {
      long segmentSize =
          value(
              "journal-segment-size",
              "a size from 4KiB to 1GiB, such as 64MiB",
              64L << 20,
              Reader::segmentSize);
      return new Options(
          all,
          new EventFilter(types(), journalsAdminEvents()),
          value("global", "true or false", false, Reader::bool),
          all.getOrDefault("node", HostName.find(environment)),
          value("journal-dir", "a path", defaultDirectory(), Path::of).toAbsolutePath().normalize(),
          segmentSize,
          durability(),
          value(
              "journal-max-size",
              "none or a size of at least "
                  + SEGMENTS_MIN
                  + " times journal-segment-size, such as 10GiB",
              Long.MAX_VALUE,
              text -> maxSize(text, segmentSize)),
          value("journal-min-free", "a size such as 1MiB", 1L << 20, Units::bytes),
          value(
              "journal-overflow",
              "drop-new, refuse or drop-old",
              Overflow.DROP_NEW,
              text -> choice(Overflow.values(), overflow -> overflow.option, text)),
          value(
              "journal-settle",
              "none or event-store",
              Settle.NONE,
              text -> choice(Settle.values(), settle -> settle.option, text)),
          value(
              "journal-enrich",
              "none, all, or some of " + Enricher.Part.names() + " separated by commas",
              Set.of(),
              Reader::enrich),
          value(
              "journal-unwanted",
              "skip or keep",
              Unwanted.SKIP,
              text -> choice(Unwanted.values(), unwanted -> unwanted.option, text)),
          value(
              "journal-redact",
              "none or secrets",
              Redact.NONE,
              text -> choice(Redact.values(), redact -> redact.option, text)),
          value(
              "agent",
              "child or external",
              AgentMode.CHILD,
              text -> choice(AgentMode.values(), mode -> mode.option, text)),
          value("agent-path", "a path", null, Path::of),
          value(
              "drain-timeout",
              "a duration up to 1h, such as 10s",
              Duration.ofSeconds(10),
              Reader::drain),
          List.copyOf(problems),
          missing());
    }

    private <T> T value(String option, String expected, T defaultValue, Function<String, T> parse) {
      String text = all.get(option);
      if (text == null) {
        return defaultValue;
      }
      try {
        return parse.apply(text.strip());
      } catch (IllegalArgumentException e) {
        problems.add(
            String.format(
                "the option %s has the value '%s', but %s is expected; its default holds",
                option, text, expected));
        return defaultValue;
      }
    }

    private static boolean bool(String text) {
      return switch (text) {
        case "true" -> true;
        case "false" -> false;
        default -> throw new IllegalArgumentException(text);
      };
    }

    private static long segmentSize(String text) {
      long size = Units.bytes(text);
      if (size < SEGMENT_MIN || size > SEGMENT_MAX) {
        throw new IllegalArgumentException(text);
      }
      return size;
    }

    private static Set<Enricher.Part> enrich(String text) {
      return switch (text) {
        case "none" -> Set.of();
        case "all" -> Enricher.Part.all();
        default ->
            Stream.of(text.split(","))
                .map(String::strip)
                .filter(name -> !name.isEmpty())
                .map(name -> choice(Enricher.Part.values(), Enricher.Part::option, name))
                .collect(Collectors.toUnmodifiableSet());
      };
    }

    private static Duration drain(String text) {
      Duration drain = Units.duration(text);
      if (drain.compareTo(DRAIN_MAX) > 0) {
        throw new IllegalArgumentException(text);
      }
      return drain;
    }

    private static <T> T choice(T[] choices, Function<T, String> name, String text) {
      return Stream.of(choices)
          .filter(choice -> name.apply(choice).equals(text))
          .findAny()
          .orElseThrow(() -> new IllegalArgumentException(text));
    }

    private static long maxSize(String text, long segmentSize) {
      if (text.equals("none")) {
        return Long.MAX_VALUE;
      }
      long size = Units.bytes(text);
      if (size < SEGMENTS_MIN * segmentSize) {
        throw new IllegalArgumentException(text);
      }
      return size;
    }

    private Durability durability() {
      Fsync fsync =
          value(
              "journal-fsync",
              "never, interval or commit",
              Fsync.NEVER,
              text -> choice(Fsync.values(), mode -> mode.name().toLowerCase(Locale.ROOT), text));
      Duration interval =
          value(
              "journal-fsync-interval",
              "a duration from 10ms to 1h, such as 1s",
              Duration.ofSeconds(1),
              Reader::fsyncInterval);
      return new Durability(fsync, interval, !publishesInDoubt());
    }

    private static Duration fsyncInterval(String text) {
      Duration interval = Units.duration(text);
      if (interval.compareTo(FSYNC_INTERVAL_MIN) < 0
          || interval.compareTo(FSYNC_INTERVAL_MAX) > 0) {
        throw new IllegalArgumentException(text);
      }
      return interval;
    }

    /**
     * Whether the agent is known to publish what is in doubt, so that an outcome that a power cut
     * takes costs no event. An agent that we do not start, or that has a file of its own, may be
     * told otherwise where we do not see it.
     */
    private boolean publishesInDoubt() {
      String inDoubt = setting("in-doubt", "KEYFERRY_DESTINATION_IN_DOUBT");
      if (inDoubt != null) {
        return inDoubt.strip().equals("publish");
      }
      boolean configuredElsewhere =
          "external".equals(all.getOrDefault("agent", "").strip())
              || setting(null, "KEYFERRY_CONFIG") != null;
      return !configuredElsewhere;
    }

    private Set<EventType> types() {
      String list = setting("events", "KAFKA_EVENTS");
      return list == null ? EventFilter.allTypes() : EventFilter.types(list, problems::add);
    }

    /**
     * Admin events are wanted where their topic is known, and where no topic is known here at all:
     * then the agent decides.
     */
    private boolean journalsAdminEvents() {
      return adminTopic() != null || userTopic() == null;
    }

    private String adminTopic() {
      return setting(
          "topic-admin-events", "KAFKA_ADMIN_TOPIC", "KEYFERRY_DESTINATION_TOPIC_ADMIN_EVENTS");
    }

    private String userTopic() {
      return setting("topic-events", "KAFKA_TOPIC", "KEYFERRY_DESTINATION_TOPIC_EVENTS");
    }

    private List<String> missing() {
      List<String> missing = new ArrayList<>();
      // The agent's own file may name them.
      if (setting(null, "KEYFERRY_CONFIG") == null) {
        if (setting(
                "bootstrap-servers",
                "KAFKA_BOOTSTRAP_SERVERS",
                "KEYFERRY_DESTINATION_BOOTSTRAP_SERVERS")
            == null) {
          missing.add("bootstrap-servers (KAFKA_BOOTSTRAP_SERVERS)");
        }
        if (userTopic() == null) {
          missing.add("topic-events (KAFKA_TOPIC)");
        }
      }
      return List.copyOf(missing);
    }

    /** The option's value, else that of the first variable that has one. */
    private String setting(String option, String... variables) {
      String value = option == null ? null : all.get(option);
      for (int i = 0; value == null && i < variables.length; i++) {
        String variable = environment.get(variables[i]);
        value = variable == null || variable.isBlank() ? null : variable;
      }
      return value;
    }

    private Path defaultDirectory() {
      return dataDirectory().resolve("keyferry");
    }

    private Path dataDirectory() {
      String home = properties.apply("kc.home.dir");
      if (home != null) {
        return Path.of(home, "data");
      }
      return Path.of(properties.apply("java.io.tmpdir"));
    }
  }
}
