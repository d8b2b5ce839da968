package org.keyferry.provider;

/**
 * Makes Keycloak's transaction fail, because its events could not be journaled and {@code
 * journal-overflow} is {@code refuse}.
 */
final class EventNotJournaledException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  EventNotJournaledException(Throwable cause) {
    super(
        "The transaction is refused, because its events cannot be journaled (journal-overflow=refuse): "
            + cause.getMessage(),
        cause);
  }
}
