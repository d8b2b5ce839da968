package org.keyferry.provider;

import org.jboss.logging.Logger;
import org.keycloak.events.Event;
import org.keycloak.events.EventListenerProvider;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.models.KeycloakSession;
import org.keyferry.journal.EventJournal;

/** Records a session's events. Never throws, whatever goes wrong. */
final class KeyferryEventListener implements EventListenerProvider {
  private static final Logger LOG = Logger.getLogger(KeyferryEventListener.class);

  private final KeycloakSession session;
  private final EventJournal journal;
  private final Options options;

  KeyferryEventListener(KeycloakSession session, EventJournal journal, Options options) {
    this.session = session;
    this.journal = journal;
    this.options = options;
  }

  @Override
  public void onEvent(Event event) {
    if (!options.filter().types().contains(event.getType())) {
      return;
    }
    try {
      recorder().record(event, TraceContext.of(session));
    } catch (RuntimeException e) {
      LOG.errorf(
          e, "The event %s of type %s could not be recorded", event.getId(), event.getType());
    }
  }

  @Override
  public void onEvent(AdminEvent event, boolean includeRepresentation) {
    if (!options.filter().adminEvents()) {
      return;
    }
    try {
      recorder().record(event, includeRepresentation, TraceContext.of(session));
    } catch (RuntimeException e) {
      LOG.errorf(
          e,
          "The admin event %s on %s could not be recorded",
          event.getId(),
          event.getResourcePath());
    }
  }

  private SessionRecorder recorder() {
    return SessionRecorder.of(session, journal, options.overflow());
  }

  @Override
  public void close() {
    // The transaction's end, not the listener's, is where its events are settled.
  }
}
