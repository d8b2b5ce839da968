package org.keyferry.journal;

/**
 * By what an event is found in Keycloak's event store.
 *
 * @param time the event's own, in milliseconds since the Unix epoch
 * @param id may be {@code null}
 * @param type the name of its event type or operation type; may be {@code null}
 * @param realmId may be {@code null}
 */
public record EventReference(EventKind kind, long time, String id, String type, String realmId) {}
