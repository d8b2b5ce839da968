package org.keyferry.provider;

import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.Metrics;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jboss.logging.Logger;
import org.keyferry.journal.EventJournal;
import org.keyferry.journal.EventKind;

/**
 * The provider's figures in Keycloak's own registry. Where Keycloak's metrics are off or missing,
 * there are none.
 */
final class Meters implements AutoCloseable {
  private static final Logger LOG = Logger.getLogger(Meters.class);

  private final List<Meter> meters = new ArrayList<>();

  Meters(Keyferry keyferry) {
    try {
      register(keyferry);
    } catch (RuntimeException | LinkageError e) {
      LOG.debug("Keycloak has no metrics; there are none of Keyferry's", e);
    }
  }

  private void register(Keyferry keyferry) {
    EventJournal journal = keyferry.journal();
    for (EventKind kind : EventKind.values()) {
      String tag = kind.name().toLowerCase(Locale.ROOT);
      meters.add(
          FunctionCounter.builder("keyferry.events.appended", journal, j -> j.appended(kind))
              .description("Events that were written to the journal")
              .tag("kind", tag)
              .register(Metrics.globalRegistry));
      meters.add(
          FunctionCounter.builder("keyferry.events.dropped", journal, j -> j.dropped(kind))
              .description("Events that were lost because they could not be written to the journal")
              .tag("kind", tag)
              .register(Metrics.globalRegistry));
      meters.add(
          FunctionCounter.builder(
                  "keyferry.events.unwanted", keyferry.unwanted(), u -> u.count(kind))
              .description("Events that were not journaled because no destination wants their type")
              .tag("kind", tag)
              .register(Metrics.globalRegistry));
    }
    meters.add(
        FunctionCounter.builder("keyferry.names.failures", keyferry.enricher(), Enricher::failures)
            .description("Names that are missing in events because looking them up has failed")
            .register(Metrics.globalRegistry));
    meters.add(
        FunctionCounter.builder("keyferry.transactions.refused", journal, EventJournal::refused)
            .description("Transactions that failed because their events could not be journaled")
            .register(Metrics.globalRegistry));
    meters.add(
        FunctionCounter.builder(
                "keyferry.journal.fsync.failures", journal, EventJournal::failedSyncs)
            .description("Times that the journal could not be forced to disk")
            .register(Metrics.globalRegistry));
    meters.add(
        Gauge.builder("keyferry.backlog.bytes", keyferry, Keyferry::backlogBytes)
            .description(
                "Bytes of the journal that Kafka has not acknowledged, as the agent reports")
            .register(Metrics.globalRegistry));
    meters.add(
        Gauge.builder("keyferry.agent.up", keyferry, k -> k.isAgentUp() ? 1 : 0)
            .description("Whether the agent runs")
            .register(Metrics.globalRegistry));
  }

  @Override
  public void close() {
    meters.forEach(Metrics.globalRegistry::remove);
  }
}
