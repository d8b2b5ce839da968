package org.keyferry.provider;

import com.fasterxml.jackson.annotation.JsonFilter;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.ser.PropertyWriter;
import com.fasterxml.jackson.databind.ser.impl.SimpleBeanPropertyFilter;
import com.fasterxml.jackson.databind.ser.impl.SimpleFilterProvider;
import java.io.IOException;
import java.util.Objects;
import org.keycloak.events.Event;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.AuthDetails;
import org.keycloak.util.JsonSerialization;
import org.keyferry.journal.EventBuffer;
import org.keyferry.journal.EventKind;
import org.keyferry.journal.Field;

/**
 * Encodes Keycloak's events into a buffer: the JSON by Keycloak's own mapper, so that fields of
 * later versions pass through, and beside it the few fields by which the agent routes.
 *
 * <p>Keycloak's mapper leaves null values out. The listener that this one replaces writes them, and
 * consumers rely on the form: so they are included here.
 */
final class EventEncoder {
  private static final String REPRESENTATION = "representation";

  /** The member of the event that is ours. */
  private static final String NAMES = "keyferry";

  private static final ObjectMapper MAPPER =
      JsonSerialization.mapper.copy().setDefaultPropertyInclusion(JsonInclude.Include.ALWAYS);

  private static final ObjectWriter WHOLE = MAPPER.writer();

  private static final ObjectWriter OTHER_REPRESENTATION =
      MAPPER
          .copy()
          .addMixIn(AdminEvent.class, Filtered.class)
          .writer(new SimpleFilterProvider().addFilter(REPRESENTATION, new OtherRepresentation()));

  @JsonFilter(REPRESENTATION)
  private interface Filtered {}

  /**
   * Writes the representation that the writer is given as an attribute, or null: Keycloak's object
   * is not changed, other listeners get it too.
   */
  private static final class OtherRepresentation extends SimpleBeanPropertyFilter {
    @Override
    public void serializeAsField(
        Object event, JsonGenerator json, SerializerProvider provider, PropertyWriter property)
        throws Exception {
      if (property.getName().equals(REPRESENTATION)) {
        json.writeStringField(REPRESENTATION, (String) provider.getAttribute(REPRESENTATION));
      } else {
        property.serializeAsField(event, json, provider);
      }
    }
  }

  private EventEncoder() {}

  /**
   * Adds a user event to the buffer.
   *
   * @param traceparent may be {@code null}
   * @param names what {@link Enricher} has found; may be {@code null}
   * @throws IOException if the event has no JSON form; nothing is added then
   */
  static void encode(Event event, String traceparent, String names, EventBuffer buffer)
      throws IOException {
    buffer.begin(EventKind.USER, event.getTime());
    buffer.field(Field.ID, event.getId());
    buffer.field(Field.TYPE, nameOf(event.getType()));
    buffer.field(Field.REALM_ID, event.getRealmId());
    buffer.field(Field.REALM_NAME, event.getRealmName());
    buffer.field(Field.CLIENT, event.getClientId());
    buffer.field(Field.USER_ID, event.getUserId());
    buffer.field(Field.ERROR, event.getError());
    buffer.field(Field.TRACEPARENT, traceparent);
    end(buffer, WHOLE, event, names);
  }

  /**
   * Adds an admin event to the buffer.
   *
   * @param representation what is told of the representation; {@code null} where the realm wants
   *     none in its events
   * @param traceparent may be {@code null}
   * @param names what {@link Enricher} has found; may be {@code null}
   * @throws IOException if the event has no JSON form; nothing is added then
   */
  static void encode(
      AdminEvent event, String representation, String traceparent, String names, EventBuffer buffer)
      throws IOException {
    AuthDetails auth = event.getAuthDetails();
    buffer.begin(EventKind.ADMIN, event.getTime());
    buffer.field(Field.ID, event.getId());
    buffer.field(Field.TYPE, nameOf(event.getOperationType()));
    buffer.field(Field.REALM_ID, event.getRealmId());
    buffer.field(Field.REALM_NAME, event.getRealmName());
    buffer.field(Field.CLIENT, auth == null ? null : auth.getClientId());
    buffer.field(Field.USER_ID, auth == null ? null : auth.getUserId());
    buffer.field(Field.RESOURCE_TYPE, nameOf(event.getResourceType()));
    buffer.field(Field.RESOURCE_PATH, event.getResourcePath());
    buffer.field(Field.ERROR, event.getError());
    buffer.field(Field.TRACEPARENT, traceparent);
    ObjectWriter writer =
        Objects.equals(representation, event.getRepresentation())
            ? WHOLE
            : OTHER_REPRESENTATION.withAttribute(REPRESENTATION, representation);
    end(buffer, writer, event, names);
  }

  private static String nameOf(Enum<?> constant) {
    return constant == null ? null : constant.name();
  }

  /**
   * Writes the body. As characters, because Jackson writes those beyond the Basic Multilingual
   * Plane to a stream of bytes in another form; half of a surrogate pair, as a client may send it,
   * becomes a question mark. What is not Keycloak's own stands at the end, under a key of ours.
   */
  private static void end(EventBuffer buffer, ObjectWriter writer, Object event, String names)
      throws IOException {
    try {
      writer.writeValue(buffer.body(), event);
      if (names != null) {
        buffer.addMember(NAMES, names);
      }
    } catch (IOException | RuntimeException e) {
      buffer.discard();
      throw e;
    }
    buffer.end();
  }
}
