package org.keyferry.provider;

import java.io.IOException;
import org.jboss.logging.Logger;
import org.keycloak.events.Event;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakTransactionManager;
import org.keyferry.journal.EventBuffer;
import org.keyferry.journal.EventJournal;
import org.keyferry.journal.EventKind;
import org.keyferry.journal.JournalException;
import org.keyferry.journal.JournalTransaction;

/**
 * The events of one transaction of a Keycloak session, whichever listener objects they come
 * through: Keycloak makes one for user events and one for each builder of admin events.
 *
 * <p>The journal's PREPARE is written in Keycloak's prepare phase, before the database commits;
 * events that are raised later get a PREPARE of their own at once. The outcome is written after the
 * database's. Events raised when there is no transaction to wait for are committed with their
 * PREPARE.
 */
final class SessionRecorder {
  private static final Logger LOG = Logger.getLogger(SessionRecorder.class);
  private static final String ATTRIBUTE = SessionRecorder.class.getName();

  /**
   * Beyond this the events that have been gathered are written before the prepare phase, so that a
   * mass change does not fill the heap.
   */
  private static final int GATHER_MAX = 1 << 20;

  private enum Phase {
    /** Nothing has been written; the prepare phase is to come. */
    GATHERING,
    /** The prepare phase is over, the outcome not known. */
    PREPARED,
    /** The outcome has been given to the journal. */
    COMPLETED
  }

  private final EventJournal journal;
  private final Options.Overflow overflow;
  private final JournalTransaction transaction = new JournalTransaction();
  private final EventBuffer buffer = EventBuffer.take();
  private Phase phase = Phase.GATHERING;

  /**
   * Why events of this transaction are lost already; it makes the prepare phase fail where lost
   * events do.
   */
  private JournalException lost;

  private SessionRecorder(EventJournal journal, Options.Overflow overflow) {
    this.journal = journal;
    this.overflow = overflow;
  }

  /**
   * The recorder of the session's transaction. Without a transaction that waits for its commit, one
   * whose events are committed at once.
   */
  static SessionRecorder of(
      KeycloakSession session, EventJournal journal, Options.Overflow overflow) {
    SessionRecorder known = session.getAttribute(ATTRIBUTE, SessionRecorder.class);
    if (known != null && known.phase != Phase.COMPLETED && known.journal == journal) {
      return known;
    }
    SessionRecorder recorder = new SessionRecorder(journal, overflow);
    if (recorder.enlistIn(session.getTransactionManager())) {
      session.setAttribute(ATTRIBUTE, recorder);
    } else {
      recorder.phase = Phase.COMPLETED;
    }
    return recorder;
  }

  private boolean enlistIn(KeycloakTransactionManager manager) {
    if (!manager.isActive()) {
      return false;
    }
    try {
      manager.enlistPrepare(new Step(this::prepare, () -> {}));
      manager.enlistAfterCompletion(new Step(this::commit, this::rollback));
      return true;
    } catch (IllegalStateException e) {
      LOG.debug("The transaction is completed already; its event is committed at once", e);
      return false;
    }
  }

  void record(Event event, String traceparent, String names) {
    try {
      EventEncoder.encode(event, traceparent, names, buffer);
    } catch (IOException | RuntimeException e) {
      journal.loseUnrecordable(EventKind.USER, event.getTime(), e);
      return;
    }
    recorded();
  }

  void record(AdminEvent event, String representation, String traceparent, String names) {
    try {
      EventEncoder.encode(event, representation, traceparent, names, buffer);
    } catch (IOException | RuntimeException e) {
      journal.loseUnrecordable(EventKind.ADMIN, event.getTime(), e);
      return;
    }
    recorded();
  }

  private void recorded() {
    if (phase == Phase.COMPLETED) {
      commitBuffered();
    } else if (phase == Phase.PREPARED || buffer.size() >= GATHER_MAX) {
      appendEarly();
    }
  }

  /**
   * Appends what has been gathered so far. What fails is tried again with the commit, unless it is
   * too much to hold.
   */
  private void appendEarly() {
    try {
      journal.prepare(transaction, buffer);
    } catch (JournalException e) {
      if (buffer.size() >= GATHER_MAX) {
        lost = e;
        journal.lose(buffer, e);
      }
    }
  }

  private void prepare() {
    if (phase != Phase.GATHERING) {
      return;
    }
    phase = Phase.PREPARED;
    if (!buffer.isEmpty()) {
      try {
        journal.prepare(transaction, buffer);
      } catch (JournalException e) {
        refuse(e);
      }
    }
    if (lost != null) {
      refuse(lost);
    }
  }

  private void refuse(JournalException cause) {
    if (overflow == Options.Overflow.REFUSE) {
      journal.countRefused();
      throw new EventNotJournaledException(cause);
    }
  }

  private void commit() {
    if (phase == Phase.COMPLETED) {
      return;
    }
    phase = Phase.COMPLETED;
    commitBuffered();
  }

  private void commitBuffered() {
    if (!buffer.isEmpty()) {
      try {
        journal.prepareAndCommit(transaction, buffer);
      } catch (JournalException e) {
        journal.lose(buffer, e);
      }
    }
    journal.commit(transaction);
    buffer.recycle();
  }

  private void rollback() {
    if (phase == Phase.COMPLETED) {
      return;
    }
    phase = Phase.COMPLETED;
    journal.abort(transaction);
    buffer.recycle();
  }
}
