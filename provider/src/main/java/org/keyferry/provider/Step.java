package org.keyferry.provider;

import org.keycloak.models.KeycloakTransaction;

/**
 * What we do in a phase of Keycloak's transaction. It counts as begun from the start, and tolerates
 * to be called again: Keycloak 26.4 keeps its lists when a session begins a second transaction.
 */
record Step(Runnable onCommit, Runnable onRollback) implements KeycloakTransaction {
  @Override
  public void begin() {
    // There is nothing to begin.
  }

  @Override
  public void commit() {
    onCommit.run();
  }

  @Override
  public void rollback() {
    onRollback.run();
  }

  @Override
  public void setRollbackOnly() {
    // The transaction manager decides on the outcome; we only record it.
  }

  @Override
  public boolean getRollbackOnly() {
    return false;
  }

  @Override
  public boolean isActive() {
    return true;
  }
}
