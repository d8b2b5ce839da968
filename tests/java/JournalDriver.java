import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import org.keyferry.journal.Durability;
import org.keyferry.journal.EventBuffer;
import org.keyferry.journal.EventJournal;
import org.keyferry.journal.EventKind;
import org.keyferry.journal.Field;
import org.keyferry.journal.JournalException;
import org.keyferry.journal.JournalTransaction;
import org.keyferry.journal.OutcomeStore;

/**
 * Drives the real journal as the listener does: {@code JournalDriver DIRECTORY never|commit}, the latter as
 * the option {@code journal-fsync}. Prints what became of each transaction, one line each: {@code
 * acknowledged}, {@code rolled-back} or {@code lost}, and its event's id. What is lost has been handed to the journal as such.
 */
final class JournalDriver {
  private static final long SEGMENT_SIZE = 4096;
  private static final int TRANSACTIONS = 40;
  private static final int AFTERWARDS = 10;
  private static final Duration SYNC_INTERVAL = Duration.ofSeconds(1);

  /** How long a journal may take until it is well again. */
  private static final Duration PATIENCE = Duration.ofSeconds(3);

  private final EventJournal journal;
  private int count;

  private JournalDriver(Path directory, Durability durability) {
    journal =
        new EventJournal(
            new EventJournal.Settings(
                directory,
                "driven",
                SEGMENT_SIZE,
                durability,
                Long.MAX_VALUE,
                0,
                OutcomeStore.NONE));
  }

  public static void main(String[] arguments) throws InterruptedException {
    Durability.Fsync fsync = Durability.Fsync.valueOf(arguments[1].toUpperCase(Locale.ROOT));
    JournalDriver driver =
        new JournalDriver(
            Path.of(arguments[0]), new Durability(fsync, SYNC_INTERVAL, false));
    driver.journal.open(slot -> {});
    driver.run(TRANSACTIONS);
    driver.waitUntilWell();
    driver.run(AFTERWARDS);
    driver.journal.close();
    System.out.println("closed " + driver.journal.dropped(EventKind.USER));
  }

  private void run(int transactions) {
    for (int i = 0; i < transactions; i++) {
      run("event-" + ++count);
    }
  }

  private void run(String id) {
    JournalTransaction transaction = new JournalTransaction();
    EventBuffer events = EventBuffer.take();
    addEvent(events, id);
    String outcome;
    try {
      outcome = append(transaction, events);
    } catch (JournalException e) {
      journal.lose(events, e);
      // The listener's transaction ends all the same.
      journal.commit(transaction);
      outcome = "lost";
    }
    events.recycle();
    System.out.println(outcome + " " + id);
  }

  /** Every seventh transaction is one that Keycloak has completed already; of the others every fifth is rolled back. */
  private String append(JournalTransaction transaction, EventBuffer events) throws JournalException {
    if (count % 7 == 0) {
      journal.prepareAndCommit(transaction, events);
      return "acknowledged";
    }
    journal.prepare(transaction, events);
    if (count % 5 == 0) {
      journal.abort(transaction);
      return "rolled-back";
    }
    journal.commit(transaction);
    return "acknowledged";
  }

  private static void addEvent(EventBuffer events, String id) {
    events.begin(EventKind.USER, System.currentTimeMillis());
    events.field(Field.ID, id);
    events.field(Field.TYPE, "LOGIN");
    events.field(Field.USER_ID, "user");
    events.body(("{\"id\":\"" + id + "\",\"type\":\"LOGIN\"}").getBytes(StandardCharsets.UTF_8));
    events.end();
  }

  private void waitUntilWell() throws InterruptedException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (System.nanoTime() < end && !isWell()) {
      Thread.sleep(50);
    }
  }

  private boolean isWell() {
    EventJournal.Status status = journal.status();
    return status.slot() != null && status.problem() == null;
  }
}
