package org.keyferry.provider;

import io.opentelemetry.api.trace.Span;
import jakarta.ws.rs.core.HttpHeaders;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.keycloak.models.KeycloakContext;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakTransactionManager;
import org.keycloak.services.DefaultKeycloakTransactionManager;
import org.keycloak.tracing.TracingProvider;

/**
 * A session with attributes, Keycloak's own transaction manager, a request's header, a span, and
 * perhaps models. What else is asked of it fails.
 */
final class FakeSession {
  private final Map<String, Object> attributes = new HashMap<>();
  private final KeycloakSession session = proxy(KeycloakSession.class, this::answer);
  private final TracingProvider tracing = proxy(TracingProvider.class, this::answerTracing);
  private final KeycloakContext context = proxy(KeycloakContext.class, this::answerContext);
  private final HttpHeaders headers = proxy(HttpHeaders.class, this::answerHeaders);
  private KeycloakTransactionManager manager = new DefaultKeycloakTransactionManager(session);
  private Span span = Span.getInvalid();
  private String traceparent;
  private Models models;

  /** What a proxy answers. */
  interface Answer {
    Object to(String method, Object[] arguments);
  }

  /** An answer: the proxy itself. */
  static final Object FLUENT = new Object();

  /** A {@code type} that gives these answers. */
  static <T> T proxy(Class<T> type, Answer answer) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (self, method, arguments) -> {
              Object result = answer.to(method.getName(), arguments);
              return result == FLUENT ? self : result;
            }));
  }

  private Object answer(String method, Object[] arguments) {
    return switch (method) {
      case "getAttribute" -> attributes.get(arguments[0]);
      case "setAttribute" -> attributes.put((String) arguments[0], arguments[1]);
      case "getTransactionManager" -> manager;
      case "getProvider" -> provider(arguments[0]);
      case "getContext" -> context;
      default -> {
        if (models == null) {
          throw new UnsupportedOperationException(method);
        }
        yield models.answer(method);
      }
    };
  }

  private Object provider(Object type) {
    if (type == TracingProvider.class) {
      return tracing;
    }
    return models == null ? null : models.provider(type);
  }

  private Object answerTracing(String method, Object[] arguments) {
    return switch (method) {
      case "getCurrentSpan" -> span;
      case "trace" -> {
        run(arguments[2]);
        yield null;
      }
      default -> throw new UnsupportedOperationException(method);
    };
  }

  @SuppressWarnings("unchecked")
  private void run(Object execution) {
    ((Consumer<Span>) execution).accept(span);
  }

  private Object answerContext(String method, Object[] arguments) {
    if (method.equals("getRequestHeaders")) {
      return headers;
    }
    if (models == null) {
      throw new UnsupportedOperationException(method);
    }
    return models.context(method);
  }

  private Object answerHeaders(String method, Object[] arguments) {
    return "traceparent".equals(arguments[0]) ? traceparent : null;
  }

  KeycloakSession session() {
    return session;
  }

  KeycloakTransactionManager manager() {
    return manager;
  }

  FakeSession begun() {
    manager.begin();
    return this;
  }

  FakeSession manager(KeycloakTransactionManager other) {
    manager = other;
    return this;
  }

  FakeSession span(Span current) {
    span = current;
    return this;
  }

  FakeSession models(Models known) {
    models = known;
    return this;
  }

  FakeSession traceparent(String header) {
    traceparent = header;
    return this;
  }
}
