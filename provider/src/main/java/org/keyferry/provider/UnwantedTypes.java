package org.keyferry.provider;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;
import org.jboss.logging.Logger;
import org.keycloak.events.Event;
import org.keycloak.events.admin.AdminEvent;
import org.keyferry.journal.EventKind;

/**
 * The types of events that no destination wants, as the agent says in a file of the slot: they need
 * not be journaled.
 *
 * <p>The invariant: in doubt an event is wanted. Without the file, with one that cannot be read or
 * is of a later form, and for types that it does not name, everything is journaled. A file that an
 * agent left before this journal was opened says nothing: it is removed, and an agent that runs
 * writes it again.
 */
final class UnwantedTypes {
  private static final Logger LOG = Logger.getLogger(UnwantedTypes.class);
  private static final String FILE = "unwanted.json";
  private static final int VERSION = 1;
  private static final ObjectMapper JSON = new ObjectMapper();

  /** So long what was read holds before somebody looks again. */
  private static final long LOOK_NANOS = TimeUnit.SECONDS.toNanos(1);

  /** By names as in the file: {@code REFRESH_TOKEN}; {@code USER.CREATE}. */
  private record Types(Set<String> userEvents, Set<String> adminEvents) {
    static final Types NONE = new Types(Set.of(), Set.of());
  }

  /** What tells one content of the file from another: it is replaced and never written in place. */
  private record Stamp(Object key, FileTime modified, long size) {}

  private final LongSupplier nanos;
  private final AtomicBoolean looking = new AtomicBoolean();
  private final LongAdder userEvents = new LongAdder();
  private final LongAdder adminEvents = new LongAdder();
  private volatile Path file;
  private volatile Types types = Types.NONE;
  private volatile long nextLook;
  private Stamp stamp;

  UnwantedTypes() {
    this(System::nanoTime);
  }

  UnwantedTypes(LongSupplier nanos) {
    this.nanos = nanos;
  }

  /** From now on the agent of this slot is listened to. */
  void listen(Path slot) {
    Path said = slot.resolve(FILE);
    try {
      Files.deleteIfExists(said);
    } catch (IOException e) {
      LOG.warnf("Everything is journaled, whatever the agent's filters say: cannot remove %s", e);
      return;
    }
    nextLook = nanos.getAsLong();
    file = said;
  }

  /** Whether nobody wants the event, which is counted then. */
  boolean include(Event event) {
    boolean is = event.getType() != null && present().userEvents().contains(event.getType().name());
    if (is) {
      userEvents.increment();
    }
    return is;
  }

  /** Whether nobody wants the event, which is counted then. */
  boolean include(AdminEvent event) {
    Set<String> unwanted = present().adminEvents();
    boolean is =
        !unwanted.isEmpty()
            && unwanted.contains(event.getResourceType() + "." + event.getOperationType());
    if (is) {
      adminEvents.increment();
    }
    return is;
  }

  /** How many events of the kind were not journaled because nobody wants them. */
  long count(EventKind kind) {
    return (kind == EventKind.USER ? userEvents : adminEvents).sum();
  }

  private Types present() {
    Path said = file;
    if (said == null) {
      return Types.NONE;
    }
    long now = nanos.getAsLong();
    if (now - nextLook >= 0 && looking.compareAndSet(false, true)) {
      try {
        look(said);
        nextLook = now + LOOK_NANOS;
      } finally {
        looking.set(false);
      }
    }
    return types;
  }

  /** Reads the file if it is another than before. Only one thread does at a time. */
  private void look(Path said) {
    Stamp found = null;
    try {
      BasicFileAttributes attributes = Files.readAttributes(said, BasicFileAttributes.class);
      found = new Stamp(attributes.fileKey(), attributes.lastModifiedTime(), attributes.size());
      if (!found.equals(stamp)) {
        types = parse(JSON.readTree(Files.readAllBytes(said)));
      }
    } catch (NoSuchFileException e) {
      types = Types.NONE;
    } catch (IOException | RuntimeException e) {
      types = Types.NONE;
      if (found == null || !found.equals(stamp)) {
        LOG.warnf(
            "Everything is journaled, whatever the agent's filters say: %s is not understood: %s",
            said, e.getMessage());
      }
    }
    stamp = found;
  }

  private static Types parse(JsonNode said) throws IOException {
    if (said.path("version").asInt() != VERSION) {
      throw new IOException(
          "its version is " + said.path("version") + ", and " + VERSION + " was expected");
    }
    return new Types(names(said.path("user")), names(said.path("admin")));
  }

  private static Set<String> names(JsonNode list) {
    Set<String> names = new HashSet<>();
    list.forEach(name -> names.add(name.asText()));
    return Set.copyOf(names);
  }
}
