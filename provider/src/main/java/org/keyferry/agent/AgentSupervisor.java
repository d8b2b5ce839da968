package org.keyferry.agent;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jboss.logging.Logger;

/** Keeps the agent running until it is closed, on a daemon thread of its own. */
public final class AgentSupervisor implements AutoCloseable {
  private static final Logger LOG = Logger.getLogger("org.keyferry.agent");

  /**
   * The exit codes of an agent that somebody told to stop: drained, SIGINT, SIGTERM. When Keycloak
   * is stopped by a signal to its process group, the agent gets it too, a little before we do: that
   * is no reason for a warning.
   */
  private static final Set<Integer> STOPPED_BY_SOMEBODY = Set.of(0, 128 + 2, 128 + 15);

  /** How long a killed agent may take to be gone. */
  private static final Duration KILL = Duration.ofSeconds(5);

  /**
   * When the agent is started again: after {@code first}, doubled up to {@code most}, from the
   * beginning again once it has lived for {@code settled}.
   */
  record Backoff(Duration first, Duration most, Duration settled) {
    static final Backoff STANDARD =
        new Backoff(Duration.ofSeconds(1), Duration.ofSeconds(30), Duration.ofSeconds(60));

    Duration after(Duration delay) {
      Duration doubled = delay.multipliedBy(2);
      return doubled.compareTo(most) < 0 ? doubled : most;
    }
  }

  private final Executable executable;
  private final HandOver handOver;
  private final Backoff backoff;
  private final AgentLog agentLog = new AgentLog(LOG);
  private final CountDownLatch stopping = new CountDownLatch(1);
  private final Thread thread;

  private volatile Process process;

  /** Open once the present process has taken its options, or has died before. */
  private volatile CountDownLatch handedOver = new CountDownLatch(1);

  private volatile String problem;

  /** Whether somebody told the agent to stop. Belongs to the supervising thread. */
  private boolean lastStopWasWanted;

  /** A supervisor that has not started yet. */
  public AgentSupervisor(Executable executable, HandOver handOver) {
    this(executable, handOver, Backoff.STANDARD);
  }

  AgentSupervisor(Executable executable, HandOver handOver, Backoff backoff) {
    this.executable = executable;
    this.handOver = handOver;
    this.backoff = backoff;
    this.thread = daemon("keyferry-agent", this::supervise);
  }

  private static Thread daemon(String name, Runnable task) {
    Thread thread = new Thread(task, name);
    thread.setDaemon(true);
    return thread;
  }

  /** Starts the agent, and again whenever it dies. Returns at once. */
  public void start() {
    thread.start();
  }

  private void supervise() {
    Duration delay = backoff.first();
    try {
      while (!isStopping()) {
        long begun = System.nanoTime();
        runOnce();
        Duration life = Duration.ofNanos(System.nanoTime() - begun);
        if (life.compareTo(backoff.settled()) >= 0) {
          delay = backoff.first();
        }
        if (!isStopping()) {
          LOG.logf(
              lastStopWasWanted ? Logger.Level.INFO : Logger.Level.WARN,
              "%s. It is started again in %d s.",
              problem,
              Math.max(1, delay.toSeconds()));
          if (stopping.await(delay.toMillis(), TimeUnit.MILLISECONDS)) {
            return;
          }
          delay = backoff.after(delay);
        }
      }
    } catch (AgentException e) {
      problem = e.getMessage();
      LOG.errorf("The agent cannot run: %s. Events are journaled and wait for it.", e.getMessage());
    } catch (InterruptedException e) {
      LOG.debug("The supervision of the agent was interrupted and ends", e);
    } catch (RuntimeException e) {
      problem = "the supervision of the agent has failed: " + e;
      LOG.error("The supervision of the agent has failed; events are journaled and wait for it", e);
    }
  }

  /** Runs the agent until it exits, and says in {@link #problem} why that was not wanted. */
  private void runOnce() throws AgentException, InterruptedException {
    try {
      Path path = executable.locate();
      Process started = launch(path);
      listenTo(started);
      hand(started);
      int exitCode = started.waitFor();
      problem = describe(exitCode);
      lastStopWasWanted = STOPPED_BY_SOMEBODY.contains(exitCode);
    } catch (IOException e) {
      lastStopWasWanted = false;
      problem = "The agent cannot be started: " + e.getMessage();
    } finally {
      process = null;
    }
  }

  private Process launch(Path path) throws IOException {
    ProcessBuilder builder = new ProcessBuilder(path.toString(), "run", "--child");
    builder.redirectOutput(ProcessBuilder.Redirect.DISCARD);
    AgentEnvironment.filter(builder.environment());
    synchronized (this) {
      if (isStopping()) {
        throw new IOException("Keycloak is stopping");
      }
      handedOver = new CountDownLatch(1);
      Process started = builder.start();
      process = started;
      problem = null;
      LOG.infof("Agent started: process %d, slot %s", started.pid(), handOver.slot());
      return started;
    }
  }

  private void listenTo(Process started) {
    daemon("keyferry-agent-log", () -> agentLog.passOn(started.getErrorStream())).start();
  }

  /** Hands the options over. The stream stays open: its end is what tells the agent to stop. */
  private void hand(Process started) {
    try {
      OutputStream input = started.getOutputStream();
      input.write(handOver.line());
      input.flush();
    } catch (IOException e) {
      // The agent has died before it read: its exit code says more.
      LOG.debug("The agent did not take its options", e);
    } finally {
      handedOver.countDown();
    }
  }

  private static String describe(int exitCode) {
    String meaning =
        switch (exitCode) {
          case 0 -> "stopped without being asked to";
          case 64 -> "does not understand how it was started";
          case 65 ->
              "found the journal damaged in a way that must not be skipped, or of a later version";
          case 70 -> "failed by an internal error";
          case 73 -> "found the slot served by another agent";
          case 74 -> "could not read or write the journal";
          default -> exitCode > 128 ? "was killed by signal " + (exitCode - 128) : "failed";
        };
    return "The agent " + meaning + " (exit code " + exitCode + ")";
  }

  private boolean isStopping() {
    return stopping.getCount() == 0;
  }

  /** Whether the agent's process runs. */
  public boolean isAlive() {
    Process running = process;
    return running != null && running.isAlive();
  }

  /** Why the agent does not run; {@code null} if it does. */
  public String problem() {
    return problem;
  }

  /**
   * Asks the agent to deliver what it can and to stop, and kills it when the time is over.
   *
   * @param drain how long the agent may take
   */
  public void close(Duration drain) {
    Process running;
    synchronized (this) {
      stopping.countDown();
      running = process;
    }
    if (running == null) {
      return;
    }
    long deadline = System.nanoTime() + drain.toNanos();
    try {
      if (!askToStop(running, deadline) || !running.waitFor(left(deadline), TimeUnit.NANOSECONDS)) {
        LOG.warnf(
            "The agent has not delivered everything within %d s and is stopped; the rest stays in the journal.",
            drain.toSeconds());
        running.destroyForcibly().waitFor(KILL.toMillis(), TimeUnit.MILLISECONDS);
      }
    } catch (InterruptedException e) {
      running.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }

  /**
   * Closes the agent's standard input, unless the agent does not even read its options: then the
   * stream would block us too.
   */
  private boolean askToStop(Process running, long deadline) throws InterruptedException {
    if (!handedOver.await(left(deadline), TimeUnit.NANOSECONDS)) {
      return false;
    }
    try {
      running.getOutputStream().close();
    } catch (IOException e) {
      LOG.debug("The agent's standard input was closed already", e);
    }
    return true;
  }

  private static long left(long deadline) {
    return Math.max(0, deadline - System.nanoTime());
  }

  /** Kills the agent without giving it time to drain. */
  @Override
  public void close() {
    close(Duration.ZERO);
  }
}
