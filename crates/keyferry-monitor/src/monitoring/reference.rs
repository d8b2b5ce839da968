//! `docs/metrics.md`.

use crate::metrics::catalog::ALL;
use crate::metrics::{Kind, Metric};
use crate::monitoring::rules;

const INTRODUCTION: &str = "\
# Metrics

Generated from `crates/keyferry-monitor` by its test `generated`; run it with `KEYFERRY_DOCS=write` after a change.

A running agent serves its metrics at `/metrics`: always on its [socket](api.md), and over TCP where [`metrics.listen`](configuration.md) says so. That is off by default: nothing listens on the
network unless it is told to, and several Keycloaks on one host would want the same port. What listens there has no encryption, no authentication and no way to change anything; bind it to
loopback or a network that only Prometheus reaches, for realms and clients have names.

```console
$ curl --unix-socket /opt/keycloak/data/keyferry/slot-0/agent.sock http://localhost/metrics
```

```yaml
scrape_configs:
  - job_name: keyferry
    scrape_interval: 15s
    static_configs:
      - targets: ['keycloak-1:9464']
```

- **Formats**, by what a client prefers: OpenMetrics 1.0, as Prometheus does; Prometheus's protobuf format, as it does where native histograms are switched on; the text format 0.0.4 for others.
- **Native histograms** (in the protobuf format) have schema 4: a bucket is at most 4.5 % wide. They come beside the classic ones, which dashboard and rules use; a Prometheus that takes native ones drops
  the classic ones unless it is told to scrape both (`scrape_classic_histograms`, since 3.0 `always_scrape_classic_histograms`; before 2.45 it cannot).
- **Exemplars** (OpenMetrics, protobuf and OTLP) of `keyferry_event_latency_seconds` name the trace of an event of that bucket by `trace_id`: of the last one that was looked at whose request came with a
  [`traceparent`](https://www.w3.org/TR/trace-context/) that is recorded. At most one event a millisecond is looked at, and one at a time followed. Prometheus keeps them with
  `--enable-feature=exemplar-storage`.
- **Push.** Where [`metrics.otlp.endpoint`](configuration.md) says so, the same is pushed by OTLP (HTTP, protobuf; histograms with explicit limits; names as here). A push that fails is told once and
  counted; the next one has everything, for all is cumulative.
- **Cost.** Counting takes no lock, allocates nothing and parses nothing per event; everything else is read when somebody asks.
- **Cardinality is bounded**, whatever clients send: 160 types of user events, 32 realms, 64 clients and 64 errors have names, the first that come; what is beyond is counted as `other`. The name of a
  client that does not exist, which an attacker may choose, never takes room. Only series that have counted something are exposed.
- **A shipment** is one slot of the journal on its way to one destination, told by `slot` and `destination`. Each destination of a slot meets the same events and counts them for itself: never add figures of
  events up over destinations.
- **Counts begin at zero** with the agent, and with a shipment that fails and begins again. An event that is read again after a failure is received once all the same; after a restart, what was read and
  not settled before is received again.
- **Latency** is from the COMMIT record in the journal to the acknowledgement by all replicas in sync, on the clocks of the machine's two processes, within 5 % (and to the millisecond). What is not yet delivered has no latency: see
  `keyferry_backlog_oldest_seconds` for that.
- `monitoring/` has a Grafana dashboard and rules for Prometheus, made from the same table as this page.

## All of them
";

const OF_KEYCLOAK: &str = "
## Keycloak's own

The provider counts what happens before the journal, and what therefore no agent knows, in Keycloak's own metrics (`metrics-enabled`, on Keycloak's management port). Events of types that no destination
wants are never journaled ([events.md](events.md#what-nobody-wants-is-not-journaled)): they are in `keyferry_events_unwanted_total` there, and in none of the figures above. Counts begin at zero with Keycloak.

| metric | what it counts |
|---|---|
";

/// What the provider counts, by name and description as in its `Meters`.
const OF_PROVIDER: [(&str, &str); 8] = [
    ("keyferry_events_appended_total", "Events that were written to the journal"),
    (
        "keyferry_events_dropped_total",
        "Events that were lost because they could not be written to the journal",
    ),
    (
        "keyferry_events_unwanted_total",
        "Events that were not journaled because no destination wants their type",
    ),
    ("keyferry_names_failures_total", "Names that are missing in events because looking them up has failed"),
    (
        "keyferry_transactions_refused_total",
        "Transactions that failed because their events could not be journaled",
    ),
    ("keyferry_journal_fsync_failures_total", "Times that the journal could not be forced to disk"),
    ("keyferry_backlog_bytes", "Bytes of the journal that Kafka has not acknowledged, as the agent reports"),
    ("keyferry_agent_up", "Whether the agent runs"),
];

/// The page.
pub fn text() -> String {
    let mut text = INTRODUCTION.to_owned();
    ALL.iter().for_each(|metric| text.push_str(&entry(metric)));
    text.push_str(OF_KEYCLOAK);
    OF_PROVIDER.iter().for_each(|(name, what)| text.push_str(&format!("| `{name}` | {what} |\n")));
    text.push_str(&rules::reference());
    text
}

fn entry(metric: &Metric) -> String {
    let Metric { name, kind, unit, labels, help, remedy } = metric;
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
    let unit = unit.word().map_or_else(String::new, |unit| format!(" in {unit}"));
    let buckets = match kind {
        Kind::Histogram(limits) => {
            let limits: Vec<String> = limits.iter().map(f64::to_string).collect();
            format!("- Buckets: {}\n", limits.join(", "))
        }
        Kind::Counter | Kind::Gauge => String::new(),
    };
    format!(
        "\n### `{name}`\n\n{help}\n\n- Type: {}{unit}\n- Labels: {labels}\n{buckets}- What to do: {remedy}\n",
        kind.word()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_provider_counts_is_all_told() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../provider/src/main/java/org/keyferry/provider/Meters.java"
        );
        let source = std::fs::read_to_string(path).unwrap();
        let string = |text: &str| text.split('"').nth(1).unwrap().to_owned();
        let builders: Vec<&str> = source.split(".builder(").collect();
        let found: Vec<(String, String)> = builders
            .windows(2)
            .map(|pair| {
                // As Micrometer names it for Prometheus.
                let suffix = if pair[0].ends_with("FunctionCounter") { "_total" } else { "" };
                let description = pair[1].split(".description(").nth(1).unwrap();
                (string(pair[1]).replace('.', "_") + suffix, string(description))
            })
            .collect();
        let told = OF_PROVIDER.map(|(name, what)| (name.to_owned(), what.to_owned()));
        assert_eq!(found, told);
    }
}
