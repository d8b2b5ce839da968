package org.keyferry.provider;

import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.jboss.logging.Logger;
import org.keyferry.agent.AgentStatus;
import org.keyferry.agent.AgentSupervisor;
import org.keyferry.agent.Executable;
import org.keyferry.agent.GivenExecutable;
import org.keyferry.agent.HandOver;
import org.keyferry.agent.PackagedExecutable;
import org.keyferry.journal.EventJournal;
import org.keyferry.journal.EventKind;
import org.keyferry.journal.OutcomeStore;

/** What runs while Keycloak does: the journal, the agent's supervision, the figures. */
final class Keyferry {
  private static final Logger LOG = Logger.getLogger("org.keyferry");

  /** How long transactions that are under way may take to get their outcome when Keycloak stops. */
  private static final Duration OUTCOMES = Duration.ofSeconds(5);

  private final Options options;
  private final boolean server;
  private final EventJournal journal;
  private final UnwantedTypes unwanted = new UnwantedTypes();
  private final Enricher enricher;
  private Meters meters;
  private volatile boolean started;
  private volatile AgentSupervisor supervisor;

  /**
   * @param server whether this is a server, and not a command such as an export: a command journals
   *     if it raises events, but starts no agent
   * @param outcomes who knows the outcome of transactions that the last process left without one
   */
  Keyferry(Options options, boolean server, OutcomeStore outcomes) {
    this.options = options;
    this.server = server;
    this.enricher = new Enricher(options.enrich());
    this.journal =
        new EventJournal(
            new EventJournal.Settings(
                options.journalDirectory(),
                options.node(),
                options.segmentSize(),
                options.durability(),
                options.maxSize(),
                options.minFree(),
                outcomes));
  }

  /** Opens the journal and starts the agent, if that has not been done. */
  void start() {
    if (!started) {
      startOnce();
    }
  }

  private synchronized void startOnce() {
    if (started) {
      return;
    }
    started = true;
    options.problems().forEach(problem -> LOG.errorf("Configuration: %s.", problem));
    if (server && !options.missing().isEmpty()) {
      LOG.warnf(
          "Events are journaled but not delivered yet. Set %s.",
          String.join(" and ", options.missing()));
    }
    meters = new Meters(this);
    journal.open(this::opened);
  }

  /** Before an agent can have said anything, what earlier ones have said is forgotten. */
  private void opened(Path slot) {
    if (options.unwanted() == Options.Unwanted.SKIP) {
      unwanted.listen(slot);
    }
    startAgent(slot);
  }

  private void startAgent(Path slot) {
    if (!server || options.agentMode() == Options.AgentMode.EXTERNAL) {
      return;
    }
    HandOver handOver =
        new HandOver(slot, journal.node(), Versions.provider(), Versions.keycloak(), options.all());
    AgentSupervisor starting = new AgentSupervisor(executable(), handOver);
    starting.start();
    supervisor = starting;
  }

  private Executable executable() {
    return options.agentPath() != null
        ? new GivenExecutable(options.agentPath())
        : new PackagedExecutable(options.journalDirectory());
  }

  EventJournal journal() {
    return journal;
  }

  UnwantedTypes unwanted() {
    return unwanted;
  }

  Enricher enricher() {
    return enricher;
  }

  private Optional<AgentStatus> agentStatus() {
    Path slot = journal.status().slot();
    return slot == null ? Optional.empty() : AgentStatus.read(slot);
  }

  double backlogBytes() {
    return agentStatus().map(status -> (double) status.backlogBytes()).orElse(0.0);
  }

  boolean isAgentUp() {
    AgentSupervisor own = supervisor;
    return own != null ? own.isAlive() : agentStatus().map(AgentStatus::isAlive).orElse(false);
  }

  /** What the admin console shows. */
  Map<String, String> operationalInfo() {
    Map<String, String> info = new LinkedHashMap<>();
    EventJournal.Status status = journal.status();
    info.put("version", Versions.provider());
    info.put("journal directory", options.journalDirectory().toAbsolutePath().toString());
    info.put("journal", journalState(status));
    if (status.slot() != null) {
      info.put("slot", status.slot().getFileName().toString());
      info.put("epoch", status.epoch());
    }
    info.put(
        "appended events",
        counts(journal.appended(EventKind.USER), journal.appended(EventKind.ADMIN)));
    info.put(
        "dropped events",
        counts(journal.dropped(EventKind.USER), journal.dropped(EventKind.ADMIN)));
    info.put(
        "unwanted events", counts(unwanted.count(EventKind.USER), unwanted.count(EventKind.ADMIN)));
    if (!options.enrich().isEmpty()) {
      info.put("names not found for a failure", Long.toString(enricher.failures()));
    }
    if (status.lastLoss() != null) {
      info.put("last loss", status.lastLoss());
    }
    info.put("refused transactions", Long.toString(journal.refused()));
    info.put("failed fsyncs", Long.toString(journal.failedSyncs()));
    if (status.incident() != null) {
      info.put("incident", status.incident());
    }
    addAgent(info);
    for (int i = 0; i < options.problems().size(); i++) {
      info.put("configuration problem " + (i + 1), options.problems().get(i));
    }
    if (!options.missing().isEmpty()) {
      info.put("missing options", String.join(", ", options.missing()));
    }
    return info;
  }

  private String journalState(EventJournal.Status status) {
    if (status.problem() != null) {
      return status.problem();
    }
    return status.slot() == null ? "not open yet" : "open";
  }

  private static String counts(long userEvents, long adminEvents) {
    return userEvents + " user, " + adminEvents + " admin";
  }

  private void addAgent(Map<String, String> info) {
    Optional<AgentStatus> reported = agentStatus();
    info.put("agent", agentState(reported));
    reported.ifPresent(
        status -> {
          if (status.reason() != null) {
            info.put("agent reason", status.reason());
          }
          info.put("backlog bytes", Long.toString(status.backlogBytes()));
          info.put(
              "last delivery",
              status.lastDelivery() == null
                  ? "none yet"
                  : Instant.ofEpochMilli(status.lastDelivery()).toString());
          info.put("agent version", status.version());
        });
  }

  private String agentState(Optional<AgentStatus> reported) {
    AgentSupervisor own = supervisor;
    if (own != null && !own.isAlive()) {
      return own.problem() == null ? "not running" : "not running: " + own.problem();
    }
    if (own == null && !reported.map(AgentStatus::isAlive).orElse(false)) {
      return "not running";
    }
    return reported.map(AgentStatus::state).orElse("starting");
  }

  /** Ends the journal in order, then lets the agent deliver what it can. */
  synchronized void close() {
    if (!started) {
      return;
    }
    journal.close(OUTCOMES);
    AgentSupervisor running = supervisor;
    if (running != null) {
      running.close(options.drainTimeout());
    }
    meters.close();
  }
}
