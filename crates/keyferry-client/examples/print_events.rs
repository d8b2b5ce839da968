//! Prints the events of topics, each once, and what is missing between them, from the beginning on and for ever.
//!
//! `cargo run -p keyferry-client --example print_events -- localhost:9092 keycloak-events keycloak-admin-events`
//!
//! It reads all partitions of all topics of a destination, because numbers run over all of them. A consumer that shares them with others of its group can tell copies apart, but not find gaps.

use std::error::Error;
use std::time::Duration;

use keyferry_client::{Decoder, Duplicates, Event, Headers, Message, Outcome, Sequences, Start};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(servers), topics) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        return Err("usage: print_events SERVERS TOPIC…".into());
    };
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", servers).set("group.id", "print-events").create()?;
    let mut partitions = Vec::new();
    for topic in &topics {
        for found in consumer.fetch_metadata(Some(topic), PATIENCE)?.topics() {
            partitions.extend(found.partitions().iter().map(|partition| (topic.clone(), partition.id())));
        }
    }
    let mut assigned = TopicPartitionList::new();
    let mut starts = Vec::new();
    for (topic, number) in &partitions {
        assigned.add_partition_offset(topic, *number, Offset::Beginning)?;
        let (first, _) = consumer.fetch_watermarks(topic, *number, PATIENCE)?;
        starts.push(if first == 0 { Start::Beginning } else { Start::Middle });
    }
    consumer.assign(&assigned)?;

    let decoder = Decoder::default();
    let mut duplicates = Duplicates::default();
    let mut sequences = Sequences::of(starts);
    loop {
        let Some(record) = consumer.poll(PATIENCE).transpose()? else { continue };
        let headers: Headers<'_> = record
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .filter_map(|header| Some((header.key, header.value?)))
            .collect();
        let message = match decoder.decode(&headers, record.payload().unwrap_or_default()) {
            Ok(message) => message,
            Err(error) => {
                eprintln!("{}-{} at {}: {error}", record.topic(), record.partition(), record.offset());
                continue;
            }
        };
        let partition = partitions
            .iter()
            .position(|(topic, number)| topic == record.topic() && *number == record.partition());
        sequences.enter(partition.ok_or("a record of a partition that nobody asked for")?, &message);
        while let Some(missing) = sequences.next_missing() {
            println!("MISSING: numbers {missing}");
        }
        if message.id.as_deref().is_none_or(|id| duplicates.is_new(id)) {
            print(&message);
        }
    }
}

fn print(message: &Message) {
    let doubt = if message.outcome == Outcome::Unknown { " (in doubt)" } else { "" };
    match &message.event {
        Event::User(event) => {
            let user = event.user_id.as_deref().or(event.detail("username")).unwrap_or("nobody");
            println!("{} of {user}{doubt}", event.kind());
        }
        Event::Admin(event) => {
            println!(
                "{} {} at {}{doubt}",
                event.operation(),
                event.resource(),
                event.resource_path.as_deref().unwrap_or("?")
            );
        }
        Event::Gap(gap) => println!("GAP ({}): {}", gap.cause, gap.detail),
    }
}
