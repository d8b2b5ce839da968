//! The demo.
use keyferry_tests::{kafka::Kafka, keycloak::*};
use std::time::{Duration, Instant};
fn main() {
    let cache = xtask::cache::Cache::from_environment().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let t = Instant::now();
    let mut kafka = Kafka::start_new(&cache, dir.path()).unwrap();
    println!("kafka {:?}", t.elapsed());
    kafka.create_topic("x", 1).unwrap();
    let d = Distribution::build(&cache, xtask::parts::Keycloak::V26_7, None, Database::File).unwrap();
    println!("built {:?}", t.elapsed());
    let mut kc = Keycloak::new(&d, dir.path()).unwrap();
    kc.start().unwrap();
    println!("started {:?} {}", t.elapsed(), kc.address());
    kafka.kill().unwrap();
    kafka.start().unwrap();
    println!("kafka again {:?}", t.elapsed());
    kc.stop().unwrap();
    println!("stopped {:?}", t.elapsed());
    kafka.stop().unwrap();
    println!("stopped {:?}", t.elapsed());
    std::thread::sleep(Duration::from_secs(1));
}
