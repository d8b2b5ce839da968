package org.keyferry.provider;

import org.keycloak.events.Event;
import org.keycloak.events.EventListenerProvider;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.models.KeycloakSession;
import org.keyferry.journal.EventJournal;
import org.keyferry.journal.EventKind;

/**
 * Records a session's events, but for those that nobody wants. Never throws: what goes wrong is
 * counted as lost.
 */
final class KeyferryEventListener implements EventListenerProvider {
  private final KeycloakSession session;
  private final EventJournal journal;
  private final Options options;
  private final UnwantedTypes unwanted;
  private final Enricher enricher;

  KeyferryEventListener(
      KeycloakSession session,
      EventJournal journal,
      Options options,
      UnwantedTypes unwanted,
      Enricher enricher) {
    this.session = session;
    this.journal = journal;
    this.options = options;
    this.unwanted = unwanted;
    this.enricher = enricher;
  }

  @Override
  public void onEvent(Event event) {
    if (!options.filter().types().contains(event.getType()) || unwanted.include(event)) {
      return;
    }
    try {
      recorder().record(redacted(event), TraceContext.of(session), enricher.of(event, session));
    } catch (RuntimeException e) {
      journal.loseUnrecordable(EventKind.USER, event.getTime(), e);
    }
  }

  @Override
  public void onEvent(AdminEvent event, boolean includeRepresentation) {
    if (!options.filter().adminEvents() || unwanted.include(event)) {
      return;
    }
    try {
      String representation = includeRepresentation ? redacted(event.getRepresentation()) : null;
      recorder()
          .record(event, representation, TraceContext.of(session), enricher.of(event, session));
    } catch (RuntimeException e) {
      journal.loseUnrecordable(EventKind.ADMIN, event.getTime(), e);
    }
  }

  private Event redacted(Event event) {
    return options.redact() == Options.Redact.SECRETS ? SecretMask.without(event) : event;
  }

  private String redacted(String representation) {
    return options.redact() == Options.Redact.SECRETS
        ? SecretMask.without(representation)
        : representation;
  }

  private SessionRecorder recorder() {
    return SessionRecorder.of(session, journal, options.overflow());
  }

  @Override
  public void close() {
    // The transaction's end, not the listener's, is where its events are settled.
  }
}
