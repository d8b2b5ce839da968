package org.keyferry.agent;

import java.io.IOException;
import java.nio.file.Path;

/** Where the agent's executable comes from. */
public interface Executable {
  /**
   * The path of an executable that is ready to be started.
   *
   * @throws AgentException if there is none and trying again will not help
   * @throws IOException if it could not be made ready this time
   */
  Path locate() throws AgentException, IOException;
}
