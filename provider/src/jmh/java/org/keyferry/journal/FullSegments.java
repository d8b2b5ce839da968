package org.keyferry.journal;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Deletes the segments of a slot that are written to the end, as an agent does that has delivered
 * them: the disk would be full in minutes. It begins no sooner than when they are many, so that it
 * costs as little as it can.
 */
public final class FullSegments implements AutoCloseable {
  private static final int KEPT = 4;

  private final Path slot;
  private final ScheduledExecutorService deleter = Executors.newSingleThreadScheduledExecutor();

  /** Deletes them from now on. */
  public FullSegments(Path slot) {
    this.slot = slot;
    deleter.scheduleWithFixedDelay(this::delete, 100, 100, TimeUnit.MILLISECONDS);
  }

  private void delete() {
    try (Stream<Path> files = Files.list(slot)) {
      List<Path> segments =
          files
              .filter(path -> Format.SEGMENT_NAME.matcher(path.getFileName().toString()).matches())
              .sorted()
              .toList();
      for (Path full : segments.subList(0, Math.max(0, segments.size() - KEPT))) {
        Files.delete(full);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    deleter.shutdownNow();
  }
}
