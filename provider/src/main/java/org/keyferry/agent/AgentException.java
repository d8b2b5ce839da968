package org.keyferry.agent;

/**
 * There is no agent that could be started, and trying again will not help. The message names the
 * remedy.
 */
final class AgentException extends Exception {
  private static final long serialVersionUID = 1L;

  AgentException(String message) {
    super(message);
  }
}
