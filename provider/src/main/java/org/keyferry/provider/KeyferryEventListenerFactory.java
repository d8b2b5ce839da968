package org.keyferry.provider;

import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.keycloak.Config;
import org.keycloak.common.util.Environment;
import org.keycloak.events.EventListenerProvider;
import org.keycloak.events.EventListenerProviderFactory;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.models.utils.PostMigrationEvent;
import org.keycloak.provider.ProviderConfigProperty;
import org.keycloak.provider.ProviderEvent;
import org.keycloak.provider.ServerInfoAwareProviderFactory;
import org.keyferry.journal.OutcomeStore;

/**
 * Keycloak's way into Keyferry. The id is that of the listener which Keyferry replaces, so that
 * realms which list it need no change.
 *
 * <p>The journal is opened when the server starts and never at build time, when Keycloak makes
 * factories too.
 */
public final class KeyferryEventListenerFactory
    implements EventListenerProviderFactory, ServerInfoAwareProviderFactory {
  /** The provider's id. */
  public static final String ID = "kafka";

  /** Keycloak's profile while a command such as {@code export} runs that is no server. */
  private static final String COMMAND_PROFILE = "nonserver";

  private volatile Options options;
  private volatile Keyferry keyferry;

  @Override
  public String getId() {
    return ID;
  }

  @Override
  public void init(Config.Scope scope) {
    options = Options.read(scope, System.getenv(), System::getProperty);
  }

  @Override
  public void postInit(KeycloakSessionFactory sessions) {
    boolean server = !COMMAND_PROFILE.equalsIgnoreCase(Environment.getProfile());
    if (!server) {
      keyferry = new Keyferry(options, false, OutcomeStore.NONE);
    } else if (options.settle() == Options.Settle.EVENT_STORE) {
      keyferry = new Keyferry(options, true, new KeycloakEventStore(sessions));
      sessions.register(this::startWhenTheDatabaseIsUp);
    } else {
      keyferry = new Keyferry(options, true, OutcomeStore.NONE);
      keyferry.start();
    }
  }

  /** The event store can be asked when the database has its present form, and not before. */
  private void startWhenTheDatabaseIsUp(ProviderEvent event) {
    if (event instanceof PostMigrationEvent) {
      keyferry.start();
    }
  }

  @Override
  public EventListenerProvider create(KeycloakSession session) {
    Keyferry running = keyferry;
    running.start();
    return new KeyferryEventListener(
        session, running.journal(), options, running.unwanted(), running.enricher());
  }

  @Override
  public boolean isGlobal() {
    return options.global();
  }

  @Override
  public List<ProviderConfigProperty> getConfigMetadata() {
    return Stream.concat(DescribedOption.OF_PROVIDER.stream(), DescribedOption.OF_AGENT.stream())
        .map(DescribedOption::toProperty)
        .toList();
  }

  @Override
  public Map<String, String> getOperationalInfo() {
    Keyferry running = keyferry;
    return running == null ? Map.of() : running.operationalInfo();
  }

  @Override
  public void close() {
    Keyferry running = keyferry;
    if (running != null) {
      running.close();
    }
  }
}
