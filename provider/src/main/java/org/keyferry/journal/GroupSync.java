package org.keyferry.journal;

import java.io.IOException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;

/**
 * Makes one file's bytes durable for all threads that wait for it, by few syncs: one waiter syncs
 * for all whose bytes are written by then, while others go on writing.
 *
 * <p>Invariants: at most one sync runs on the file. A waiter is told that its bytes are durable
 * only after a sync that began when they were written. After one sync has failed there is never
 * another one on this file: the operating system reports a lost page once, and a second sync would
 * succeed without having written it.
 */
final class GroupSync {
  private final SegmentFile file;
  private final LongSupplier written;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition ended = lock.newCondition();
  private volatile long durable;
  private volatile IOException failure;
  private boolean running;
  private boolean closed;

  /**
   * @param written how many bytes whole writes have put into the file; may be asked at any time by
   *     any thread
   */
  GroupSync(SegmentFile file, LongSupplier written) {
    this.file = file;
    this.written = written;
  }

  /**
   * Returns when the file's first {@code end} bytes, which have been written, are durable.
   *
   * @throws IOException if nobody can know whether they are
   */
  void await(long end) throws IOException {
    lock.lock();
    try {
      while (durable < end) {
        if (failure != null) {
          throw failure;
        }
        if (running) {
          ended.awaitUninterruptibly();
        } else {
          syncForAll();
        }
      }
    } finally {
      lock.unlock();
    }
  }

  /** Called and left with the lock held; gives it up while the sync runs. */
  private void syncForAll() {
    if (closed) {
      failure = new IOException("the file was closed before it was synced");
      return;
    }
    running = true;
    long reached = written.getAsLong();
    IOException failed = null;
    lock.unlock();
    try {
      file.sync();
    } catch (IOException e) {
      failed = e;
    } finally {
      lock.lock();
      running = false;
      ended.signalAll();
    }
    if (failed == null) {
      durable = reached;
    } else {
      failure = failed;
    }
  }

  /** How many of the file's first bytes are durable. */
  long durable() {
    return durable;
  }

  /** Whether a sync of this file has failed. */
  boolean hasFailed() {
    return failure != null;
  }

  /** Closes the file when no sync runs on it. */
  void close() throws IOException {
    lock.lock();
    try {
      while (running) {
        ended.awaitUninterruptibly();
      }
      if (!closed) {
        closed = true;
        file.close();
      }
    } finally {
      lock.unlock();
    }
  }
}
