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
import java.util.TreeMap;

/** A file system in memory whose operations fail when they are told to. */
class FakeDisk implements Disk {
  private final Map<String, ByteArrayOutputStream> files = new TreeMap<>();
  private int writes;
  private int failFrom = Integer.MAX_VALUE;
  private int failTo = Integer.MAX_VALUE;
  private int partial;
  private boolean truncateFails;
  private boolean createFails;
  private String error = "No space left on device";

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
    return List.copyOf(files.keySet());
  }

  @Override
  public SegmentFile create(Path path) throws IOException {
    if (createFails) {
      throw new IOException(error);
    }
    String name = path.getFileName().toString();
    if (files.containsKey(name)) {
      throw new FileAlreadyExistsException(name);
    }
    files.put(name, new ByteArrayOutputStream());
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
    return Long.MAX_VALUE;
  }

  @Override
  public void syncDirectory(Path directory) throws IOException {}

  @Override
  public void delete(Path file) {
    files.remove(file.getFileName().toString());
  }

  @Override
  public Optional<Closeable> tryLock(Path file) {
    return Optional.of(() -> {});
  }

  private final class FakeFile implements SegmentFile {
    private final String name;

    FakeFile(String name) {
      this.name = name;
    }

    @Override
    public void write(byte[] bytes, int length) throws IOException {
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
    public void sync() throws IOException {}

    @Override
    public void close() {}
  }
}
