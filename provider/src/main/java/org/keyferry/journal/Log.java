package org.keyferry.journal;

import org.jboss.logging.Logger;

/** The log of the package. */
final class Log {
  static final Logger JOURNAL = Logger.getLogger("org.keyferry.journal");

  private Log() {}
}
