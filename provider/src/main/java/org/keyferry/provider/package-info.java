/**
 * The Keycloak extension: listens to events, follows Keycloak's transactions, and appends to the
 * journal.
 *
 * <p>The invariant: an event is prepared in the journal before the database commits and gets the
 * database's outcome afterwards. Nothing is thrown out of {@code onEvent}, and nothing waits for
 * anything but the append.
 */
package org.keyferry.provider;
