/**
 * The journal: how events reach the local disk, as {@code docs/journal-format.md} specifies it.
 *
 * <p>The invariant: a record is either in the journal as a whole, at the place its checksum names,
 * or it is not there. What could not be written is counted and leaves a gap record. Nothing here
 * knows Keycloak, and nothing here waits for anything but the local disk.
 */
package org.keyferry.journal;
