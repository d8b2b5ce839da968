package org.keyferry.journal;

import java.io.Closeable;
import java.io.IOException;

/** A file that grows at its end. */
interface SegmentFile extends Closeable {
  /** Writes at the end of the file. After an error any part of the bytes may have been written. */
  void write(byte[] bytes, int length) throws IOException;

  /** How many bytes the file has. */
  long length() throws IOException;

  /** Cuts the file to that length, at which the next write goes on. */
  void truncate(long length) throws IOException;

  /**
   * Returns when everything written before would survive a power cut. Other threads may write
   * meanwhile, but not close. After an error nothing is known of any byte that was not synced
   * before, and a later success would mean nothing: the file must not be synced again.
   */
  void sync() throws IOException;
}
