package org.keyferry.journal;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * A file system in memory whose operations fail when they are told to, and which knows what a power
 * cut would leave: of each file the bytes that a sync found when it began.
 */
class FakeDisk implements Disk {
  private final Map<String, ByteArrayOutputStream> files = new TreeMap<>();

  /** The names of empty files that mark epochs. */
  private final Set<String> marks = new TreeSet<>();

  private int writes;
  private int failFrom = Integer.MAX_VALUE;
  private int failTo = Integer.MAX_VALUE;
  private int partial;
  private boolean truncateFails;
  private boolean createFails;
  private String error = "No space left on device";

  private final List<String> operations = new ArrayList<>();
  private final Map<String, Integer> durable = new TreeMap<>();
  private int failSyncs;
  private int failDirectorySyncs;
  private Runnable whileSyncing = () -> {};
  private long freeSpace = Long.MAX_VALUE;
  private int listings;

  /**
   * From the n-th write from now on, so many fail after having written {@code partial} of their
   * bytes.
   */
  FakeDisk failWrites(int fromNext, int count, int partialBytes) {
    failFrom = writes + fromNext;
    failTo = failFrom + count;
    partial = partialBytes;
    return this;
  }

  FakeDisk failTruncate(boolean fails) {
    truncateFails = fails;
    return this;
  }

  FakeDisk failCreate(boolean fails) {
    createFails = fails;
    return this;
  }

  FakeDisk error(String message) {
    error = message;
    return this;
  }

  /** So many of the next syncs of files fail. */
  FakeDisk failSyncs(int count) {
    failSyncs = count;
    return this;
  }

  /** So many of the next syncs of directories fail. */
  FakeDisk failDirectorySyncs(int count) {
    failDirectorySyncs = count;
    return this;
  }

  /** What happens while a file is synced. */
  FakeDisk whileSyncing(Runnable action) {
    whileSyncing = action;
    return this;
  }

  FakeDisk freeSpace(long bytes) {
    freeSpace = bytes;
    return this;
  }

  /** Creations and syncs in order, such as {@code sync <file>}; those that failed too. */
  synchronized List<String> operations() {
    return List.copyOf(operations);
  }

  synchronized long count(String operation) {
    return operations.stream().filter(operation::equals).count();
  }

  /** How often a directory was listed. */
  int listings() {
    return listings;
  }

  private synchronized void log(String operation) {
    operations.add(operation);
  }

  /** Cuts the file to what a power cut would leave of it. */
  synchronized void loseUnsynced(String name) {
    byte[] kept = files.get(name).toByteArray();
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    file.write(kept, 0, Math.max(durable.getOrDefault(name, 0), headerLength(kept)));
    files.put(name, file);
  }

  /** So that the segment can still be read. */
  private static int headerLength(byte[] segment) {
    return segment[10];
  }

  /** The records of all segments that a power cut would leave. */
  List<JournalReader.Entry> durableEntries() {
    List<JournalReader.Entry> entries = new ArrayList<>();
    Map<String, Integer> ends;
    synchronized (this) {
      ends = new TreeMap<>(durable);
    }
    ends.forEach(
        (name, end) ->
            JournalReader.read(files.get(name).toByteArray()).entries().stream()
                .filter(entry -> entry.offset() < end)
                .forEach(entries::add));
    return entries;
  }

  long totalSize() {
    return files.values().stream().mapToLong(ByteArrayOutputStream::size).sum();
  }

  void heal() {
    failFrom = Integer.MAX_VALUE;
    failTo = Integer.MAX_VALUE;
    truncateFails = false;
    createFails = false;
  }

  /** All segments in order. */
  List<JournalReader.Contents> segments() {
    List<JournalReader.Contents> segments = new ArrayList<>();
    files.forEach((name, bytes) -> segments.add(JournalReader.read(bytes.toByteArray())));
    return segments;
  }

  /** All records of all segments in order. */
  List<JournalReader.Entry> entries() {
    return segments().stream().flatMap(segment -> segment.entries().stream()).toList();
  }

  Map<String, ByteArrayOutputStream> files() {
    return files;
  }

  @Override
  public void createDirectories(Path directory) {}

  @Override
  public List<String> list(Path directory) {
    listings++;
    return Stream.concat(marks.stream(), files.keySet().stream()).toList();
  }

  @Override
  public SegmentFile create(Path path) throws IOException {
    if (createFails) {
      throw new IOException(error);
    }
    String name = path.getFileName().toString();
    if (files.containsKey(name) || marks.contains(name)) {
      throw new FileAlreadyExistsException(name);
    }
    if (name.endsWith(Format.EPOCH_MARK)) {
      marks.add(name);
      return new FakeFile(name);
    }
    files.put(name, new ByteArrayOutputStream());
    log("create " + name);
    return new FakeFile(name);
  }

  @Override
  public SegmentFile reopen(Path path) throws IOException {
    String name = path.getFileName().toString();
    if (!files.containsKey(name)) {
      throw new NoSuchFileException(name);
    }
    return new FakeFile(name);
  }

  @Override
  public int read(Path file, long position, byte[] into) {
    byte[] bytes = files.get(file.getFileName().toString()).toByteArray();
    int length = (int) Math.max(0, Math.min(into.length, bytes.length - position));
    System.arraycopy(bytes, (int) position, into, 0, length);
    return length;
  }

  @Override
  public long size(Path file) {
    return files.get(file.getFileName().toString()).size();
  }

  @Override
  public long freeSpace(Path directory) {
    return freeSpace - totalSize();
  }

  @Override
  public void syncDirectory(Path directory) throws IOException {
    log("sync " + directory);
    if (failDirectorySyncs > 0) {
      failDirectorySyncs--;
      throw new IOException("Input/output error");
    }
  }

  @Override
  public void delete(Path file) {
    String name = file.getFileName().toString();
    marks.remove(name);
    files.remove(name);
  }

  @Override
  public Optional<Closeable> tryLock(Path file) {
    return Optional.of(() -> {});
  }

  private final class FakeFile implements SegmentFile {
    private final String name;
    private volatile boolean closed;

    FakeFile(String name) {
      this.name = name;
    }

    @Override
    public void write(byte[] bytes, int length) throws IOException {
      checkOpen();
      writes++;
      boolean fails = writes >= failFrom && writes < failTo;
      files.get(name).write(bytes, 0, fails ? Math.min(partial, length) : length);
      if (fails) {
        throw new IOException(error);
      }
    }

    @Override
    public long length() {
      return files.get(name).size();
    }

    @Override
    public void truncate(long length) throws IOException {
      if (truncateFails) {
        throw new IOException("Input/output error");
      }
      byte[] kept = files.get(name).toByteArray();
      ByteArrayOutputStream file = new ByteArrayOutputStream();
      file.write(kept, 0, (int) length);
      files.put(name, file);
    }

    @Override
    public void sync() throws IOException {
      checkOpen();
      int length = files.get(name).size();
      log("sync " + name);
      whileSyncing.run();
      checkOpen();
      synchronized (FakeDisk.this) {
        if (failSyncs > 0) {
          failSyncs--;
          throw new IOException("Input/output error");
        }
        durable.put(name, length);
      }
    }

    private void checkOpen() {
      if (closed) {
        throw new AssertionError(name + " is used after it was closed");
      }
    }

    @Override
    public void close() {
      closed = true;
    }
  }
}
