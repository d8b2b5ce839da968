package org.keyferry.provider;

import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakTransaction;
import org.keycloak.services.DefaultKeycloakTransactionManager;

/**
 * A manager in the middle of its commit, as Keycloak behaves since 26.5: active, but nothing can be
 * enlisted any more.
 */
final class CompletedManager extends DefaultKeycloakTransactionManager {
  CompletedManager(KeycloakSession session) {
    super(session);
  }

  @Override
  public boolean isActive() {
    return true;
  }

  @Override
  public void enlistPrepare(KeycloakTransaction transaction) {
    throw new IllegalStateException("Transaction already completed");
  }
}
