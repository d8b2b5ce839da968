package org.keyferry.journal;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/**
 * The real disk as one process sees it, with errors injected, and every operation recorded in the
 * order in which it took place. When the process is to die, the operation under way is cut short
 * and every later one is refused by {@link Killed}, so that nothing that happens afterwards in the
 * threads of the test reaches the disk or the trace.
 *
 * <p>Nothing is really synced: what a sync is worth is worked out from the trace.
 */
final class RecordingDisk implements Disk {
  /** What hits the threads of a process that has been killed. */
  static final class Killed extends Error {
    private static final long serialVersionUID = 1L;
  }

  /**
   * How likely errors are, and when the process dies.
   *
   * @param write of a write, 0 to 1
   * @param truncate of undoing it
   * @param sync of a sync
   * @param create of making a file
   * @param dieAt the number of the operation in which the process is killed, from 1; 0 for never
   */
  record Faults(double write, double truncate, double sync, double create, int dieAt) {}

  private final LocalDisk disk = new LocalDisk();
  private final Path root;
  private final RecordingTrace trace;
  private final Faults faults;
  private final Random random;
  private final Deque<Closeable> locks = new ArrayDeque<>();
  private int operations;
  private boolean dead;

  RecordingDisk(Path root, RecordingTrace trace, Faults faults, long seed) {
    this.root = root;
    this.trace = trace;
    this.faults = faults;
    this.random = new Random(seed);
  }

  /** Adds an entry of a client to the trace, unless the process is dead. */
  synchronized void tell(Runnable entry) {
    if (dead) {
      throw new Killed();
    }
    entry.run();
  }

  synchronized boolean isDead() {
    return dead;
  }

  /** Ends the process, if it is not dead already: nothing that its threads do has an effect now. */
  synchronized void end() throws IOException {
    dead = true;
    while (!locks.isEmpty()) {
      locks.pop().close();
    }
    trace.operation("died", Map.of());
  }

  @Override
  public synchronized void createDirectories(Path directory) throws IOException {
    Deque<Path> missing = new ArrayDeque<>();
    for (Path at = directory; !Files.isDirectory(at); at = at.getParent()) {
      missing.push(at);
    }
    begin(missing.isEmpty());
    disk.createDirectories(directory);
    missing.forEach(made -> record("create-directory", made));
  }

  @Override
  public List<String> list(Path directory) throws IOException {
    return disk.list(directory);
  }

  @Override
  public synchronized SegmentFile create(Path file) throws IOException {
    begin(false);
    if (happens(faults.create())) {
      trace.operation("refusal", Map.of());
      throw new IOException("Input/output error");
    }
    SegmentFile made = disk.create(file);
    record("create", file);
    return new RecordingFile(file, made);
  }

  @Override
  public synchronized void delete(Path file) throws IOException {
    begin(false);
    disk.delete(file);
    record("delete", file);
  }

  @Override
  public synchronized Optional<Closeable> tryLock(Path file) throws IOException {
    begin(true);
    Optional<Closeable> lock = disk.tryLock(file);
    lock.ifPresent(locks::push);
    return lock;
  }

  @Override
  public SegmentFile reopen(Path file) throws IOException {
    return new RecordingFile(file, disk.reopen(file));
  }

  @Override
  public int read(Path file, long position, byte[] into) throws IOException {
    return disk.read(file, position, into);
  }

  @Override
  public long size(Path file) throws IOException {
    return disk.size(file);
  }

  @Override
  public long freeSpace(Path directory) {
    return Long.MAX_VALUE;
  }

  @Override
  public void syncDirectory(Path directory) throws IOException {
    pause();
    synchronized (this) {
      begin(false);
      if (happens(faults.sync())) {
        trace.operation("refusal", Map.of());
        throw new IOException("Input/output error");
      }
      record("sync-directory", directory);
    }
  }

  /** Counts an operation; dies if it is its turn. */
  private void begin(boolean free) {
    if (dead) {
      throw new Killed();
    }
    if (!free && isTheLast()) {
      dead = true;
      throw new Killed();
    }
  }

  private boolean isTheLast() {
    return ++operations == faults.dieAt();
  }

  private boolean happens(double probability) {
    return probability > 0 && random.nextDouble() < probability;
  }

  private void record(String entry, Path path) {
    trace.operation(entry, Map.of("path", relative(path)));
  }

  private String relative(Path path) {
    return root.relativize(path.toAbsolutePath()).toString();
  }

  /** Lets a sync take its time, in which other threads may write. */
  private void pause() {
    long micros;
    synchronized (this) {
      micros = random.nextInt(400);
    }
    long until = System.nanoTime() + micros * 1000;
    while (System.nanoTime() < until) {
      Thread.yield();
    }
  }

  private final class RecordingFile implements SegmentFile {
    private final Path path;
    private final SegmentFile file;

    RecordingFile(Path path, SegmentFile file) {
      this.path = path;
      this.file = file;
    }

    @Override
    public void write(byte[] bytes, int length) throws IOException {
      synchronized (RecordingDisk.this) {
        if (dead) {
          throw new Killed();
        }
        if (isTheLast()) {
          written(bytes, random.nextInt(length + 1), false);
          dead = true;
          throw new Killed();
        }
        if (happens(faults.write())) {
          written(bytes, random.nextInt(length), true);
          throw new IOException("No space left on device");
        }
        written(bytes, length, false);
      }
    }

    private void written(byte[] bytes, int length, boolean failed) throws IOException {
      file.write(bytes, length);
      Map<String, Object> details = new LinkedHashMap<>();
      details.put("path", relative(path));
      details.put("bytes", HexFormat.of().formatHex(Arrays.copyOf(bytes, length)));
      details.put("failed", failed);
      trace.operation("write", details);
    }

    @Override
    public long length() throws IOException {
      return file.length();
    }

    @Override
    public void truncate(long length) throws IOException {
      synchronized (RecordingDisk.this) {
        begin(false);
        if (happens(faults.truncate())) {
          record("truncate-failed", path);
          throw new IOException("Input/output error");
        }
        file.truncate(length);
        trace.operation("truncate", Map.of("path", relative(path), "length", length));
      }
    }

    @Override
    public void sync() throws IOException {
      synchronized (RecordingDisk.this) {
        begin(false);
        record("sync-begin", path);
      }
      pause();
      synchronized (RecordingDisk.this) {
        begin(false);
        if (happens(faults.sync())) {
          record("sync-failed", path);
          throw new IOException("Input/output error");
        }
        record("sync", path);
      }
    }

    @Override
    public void close() throws IOException {
      file.close();
    }
  }
}
