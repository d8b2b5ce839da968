package org.keyferry.journal;

import java.io.Closeable;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The real file system.
 *
 * <p>Segments are written through {@link RandomAccessFile} and not through a {@link FileChannel}: a
 * channel closes itself when the writing thread is interrupted, and Keycloak's request threads may
 * be.
 */
final class LocalDisk implements Disk {
  private static final FileAttribute<Set<PosixFilePermission>> PRIVATE_DIRECTORY =
      mode("rwx------");
  private static final FileAttribute<Set<PosixFilePermission>> PRIVATE_FILE = mode("rw-------");

  /**
   * The locks of this process. A POSIX lock belongs to the process, and closing <em>any</em>
   * descriptor of the file gives it up: a file whose lock is already held must not even be opened.
   */
  private static final Set<Path> HELD = new HashSet<>();

  /**
   * Lock files that somebody else in this process holds, under another class loader. Closing one
   * would give up their lock.
   */
  private static final List<FileChannel> NEVER_CLOSED = new ArrayList<>();

  private static FileAttribute<Set<PosixFilePermission>> mode(String permissions) {
    return PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(permissions));
  }

  @Override
  public void createDirectories(Path directory) throws IOException {
    if (Files.isDirectory(directory)) {
      return;
    }
    Path parent = directory.getParent();
    if (parent != null) {
      Files.createDirectories(parent);
    }
    try {
      Files.createDirectory(directory, PRIVATE_DIRECTORY);
    } catch (FileAlreadyExistsException e) {
      if (!Files.isDirectory(directory)) {
        throw e;
      }
    }
  }

  @Override
  public List<String> list(Path directory) throws IOException {
    List<String> names = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory)) {
      entries.forEach(entry -> names.add(entry.getFileName().toString()));
    }
    return names;
  }

  @Override
  public SegmentFile create(Path file) throws IOException {
    Files.createFile(file, PRIVATE_FILE);
    return new LocalSegmentFile(new RandomAccessFile(file.toFile(), "rw"));
  }

  @Override
  public SegmentFile reopen(Path file) throws IOException {
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString());
    }
    RandomAccessFile opened = new RandomAccessFile(file.toFile(), "rw");
    try {
      opened.seek(opened.length());
    } catch (IOException e) {
      opened.close();
      throw e;
    }
    return new LocalSegmentFile(opened);
  }

  @Override
  public int read(Path file, long position, byte[] into) throws IOException {
    try (RandomAccessFile opened = new RandomAccessFile(file.toFile(), "r")) {
      opened.seek(position);
      int read = 0;
      while (read < into.length) {
        int more = opened.read(into, read, into.length - read);
        if (more < 0) {
          break;
        }
        read += more;
      }
      return read;
    }
  }

  @Override
  public long size(Path file) throws IOException {
    return Files.size(file);
  }

  @Override
  public long freeSpace(Path directory) throws IOException {
    long free = directory.toFile().getUsableSpace();
    if (free == 0 && !Files.isDirectory(directory)) {
      throw new NoSuchFileException(directory.toString());
    }
    return free;
  }

  /** An interrupt closes the channel under the thread: that is no failure of the disk. */
  @Override
  public void syncDirectory(Path directory) throws IOException {
    boolean interrupted = Thread.interrupted();
    try {
      while (!syncUnlessInterrupted(directory)) {
        interrupted = Thread.interrupted() || interrupted;
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private static boolean syncUnlessInterrupted(Path directory) throws IOException {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
      return true;
    } catch (ClosedByInterruptException e) {
      return false;
    }
  }

  @Override
  public void delete(Path file) throws IOException {
    Files.delete(file);
  }

  @Override
  public Optional<Closeable> tryLock(Path file) throws IOException {
    Path key = file.toAbsolutePath().getParent().toRealPath().resolve(file.getFileName());
    synchronized (HELD) {
      if (HELD.contains(key)) {
        return Optional.empty();
      }
      FileChannel channel = openLockFile(file);
      try {
        FileLock lock = channel.tryLock(0, 1, false);
        if (lock == null) {
          channel.close();
          return Optional.empty();
        }
      } catch (OverlappingFileLockException e) {
        NEVER_CLOSED.add(channel);
        return Optional.empty();
      } catch (IOException e) {
        channel.close();
        throw e;
      }
      HELD.add(key);
      return Optional.of(() -> release(key, channel));
    }
  }

  private static FileChannel openLockFile(Path file) throws IOException {
    return FileChannel.open(
        file, Set.of(StandardOpenOption.CREATE, StandardOpenOption.WRITE), PRIVATE_FILE);
  }

  private static void release(Path key, FileChannel channel) throws IOException {
    synchronized (HELD) {
      HELD.remove(key);
      channel.close();
    }
  }

  private record LocalSegmentFile(RandomAccessFile file) implements SegmentFile {
    @Override
    public void write(byte[] bytes, int length) throws IOException {
      file.write(bytes, 0, length);
    }

    @Override
    public long length() throws IOException {
      return file.length();
    }

    @Override
    public void truncate(long length) throws IOException {
      file.setLength(length);
      file.seek(length);
    }

    @Override
    public void sync() throws IOException {
      file.getFD().sync();
    }

    @Override
    public void close() throws IOException {
      file.close();
    }
  }
}
