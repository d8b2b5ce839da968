package org.keyferry.provider;

import io.opentelemetry.api.trace.SpanContext;
import jakarta.ws.rs.core.HttpHeaders;
import java.util.regex.Pattern;
import org.keycloak.models.KeycloakSession;
import org.keycloak.tracing.TracingProvider;

/**
 * The W3C Trace Context of a session's request: that of Keycloak's own span, else what the client
 * sent.
 */
final class TraceContext {
  private static final String HEADER = "traceparent";

  /** Version 00, with the ids that consist of zeros only ruled out. */
  private static final Pattern LEGAL =
      Pattern.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}");

  private TraceContext() {}

  /**
   * The {@code traceparent}; {@code null} if there is none. Never throws: an event without trace is
   * better than none.
   */
  static String of(KeycloakSession session) {
    String span = ofSpan(session);
    return span != null ? span : ofRequest(session);
  }

  private static String ofSpan(KeycloakSession session) {
    try {
      TracingProvider tracing = session.getProvider(TracingProvider.class);
      SpanContext span = tracing.getCurrentSpan().getSpanContext();
      return span.isValid()
          ? "00-" + span.getTraceId() + "-" + span.getSpanId() + "-" + span.getTraceFlags().asHex()
          : null;
    } catch (RuntimeException | LinkageError e) {
      return null;
    }
  }

  private static String ofRequest(KeycloakSession session) {
    try {
      HttpHeaders headers = session.getContext().getRequestHeaders();
      String value = headers == null ? null : headers.getHeaderString(HEADER);
      return value != null && LEGAL.matcher(value).matches() ? value : null;
    } catch (RuntimeException | LinkageError e) {
      return null;
    }
  }
}
