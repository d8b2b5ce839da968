/**
 * The agent as the provider sees it: a child process that is unpacked from the jar, started, handed
 * its options, listened to, started again when it dies and drained at the end, as {@code
 * docs/provider-agent.md} specifies it.
 *
 * <p>The invariant: whatever the agent does or fails to do, journaling goes on, and no thread of
 * Keycloak's waits for it, except for the one that stops Keycloak, and that for a limited time.
 */
package org.keyferry.agent;
