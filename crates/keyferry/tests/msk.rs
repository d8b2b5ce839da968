//! A login to Amazon MSK as it goes over the wire, and the renewal of its token while nothing flows.
//!
//! The broker here speaks as much of Kafka's protocol, over TLS, as a login needs; whoever lends the credentials speaks HTTP. What Amazon makes of the token is not
//! shown: that it is the one of Amazon's own signer is tested in `keyferry-kafka`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, also in its helpers")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use openssl::asn1::Asn1Time;
use openssl::base64::decode_block;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};

/// What the protocol calls its requests ([Kafka protocol guide](https://kafka.apache.org/protocol#protocol_api_keys)).
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;

/// How long lent credentials live.
const LIFE: Duration = Duration::from_secs(5);
/// What has not happened by then does not happen.
const LIMIT: Duration = Duration::from_secs(90);
const SECRET: &str = "zQ9xCanaryKv7w";
const SESSION: &str = "zQ9xSessionKv7w";

fn certificate() -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "localhost").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names =
        SubjectAlternativeName::new().dns("localhost").build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

/// A broker with this certificate, and the tokens that it is shown.
fn broker(certificate: &X509, key: &PKey<Private>) -> (SocketAddr, Receiver<String>) {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(certificate).unwrap();
    acceptor.set_private_key(key).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (shown, tokens) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (acceptor, shown) = (acceptor.clone(), shown.clone());
            thread::spawn(move || {
                // A client may hang up whenever it likes.
                let stream = acceptor.accept(stream).map_err(|error| error.to_string())?;
                log_in(stream, &shown).map_err(|error| error.to_string())
            });
        }
    });
    (address, tokens)
}

/// Answers up to a login, lets whoever it is in, and hangs up at the next request: the client comes again.
fn log_in(mut stream: impl Read + Write, shown: &Sender<String>) -> std::io::Result<()> {
    let mut length = [0; 4];
    loop {
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        let body = match i16::from_be_bytes([request[0], request[1]]) {
            API_VERSIONS => api_versions(),
            // No error, and one mechanism.
            SASL_HANDSHAKE => [&[0, 0, 0, 0, 0, 1, 0, 11][..], b"OAUTHBEARER"].concat(),
            SASL_AUTHENTICATE => {
                let text = String::from_utf8_lossy(&request).into_owned();
                let token = text.split_once("auth=Bearer ").unwrap().1.split('\u{1}').next().unwrap();
                let _ = shown.send(token.to_owned());
                // No error, no message, nothing to say.
                vec![0, 0, 255, 255, 0, 0, 0, 0]
            }
            _ => return Ok(()),
        };
        let response = [&request[4..8], &body].concat();
        let length = u32::try_from(response.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &response].concat())?;
    }
}

/// ApiVersions response, version 3.
fn api_versions() -> Vec<u8> {
    let supported: [(i16, i16, i16); 6] = [
        (0, 0, 7),
        (3, 0, 2),
        (SASL_HANDSHAKE, 0, 1),
        (API_VERSIONS, 0, 3),
        (22, 0, 1),
        (SASL_AUTHENTICATE, 0, 0),
    ];
    let mut body = vec![0, 0, u8::try_from(supported.len() + 1).unwrap()];
    for (key, from, to) in supported {
        body.extend([key, from, to].into_iter().flat_map(i16::to_be_bytes));
        body.push(0);
    }
    body.extend([0; 5]);
    body
}

/// Lends credentials, numbered, each of which lives [`LIFE`].
fn lender() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming().flatten()) {
            let _ = lend(stream, number);
        }
    });
    address
}

fn lend(mut stream: TcpStream, number: u32) -> std::io::Result<()> {
    let head = BufReader::new(&stream).lines().map_while(Result::ok);
    head.take_while(|line| !line.is_empty()).for_each(drop);
    let expiration = humantime::format_rfc3339_seconds(SystemTime::now() + LIFE);
    let body = format!(
        r#"{{"AccessKeyId":"ASIA{number}","SecretAccessKey":"{SECRET}","Token":"{SESSION}","Expiration":"{expiration}"}}"#
    );
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(place: &Path, broker: SocketAddr, lender: SocketAddr) -> Agent {
    let configuration = format!(
        "[destination]\nbootstrap_servers = \"localhost:{}\"\ntopic_events = \"events\"\n[destination.security]\nprotocol = \"SASL_SSL\"\n\
         [destination.security.tls]\nca_file = \"{}\"\n[destination.security.sasl]\nmechanism = \"AWS_MSK_IAM\"\n\
         aws_region = \"eu-central-1\"\n[destination.librdkafka]\n\"broker.address.family\" = \"v4\"\n",
        broker.port(),
        place.join("authority.pem").display()
    );
    fs::create_dir_all(place.join("slot-0")).unwrap();
    fs::write(place.join("keyferry.toml"), configuration).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    agent.args(["run", "--slot"]).arg(place.join("slot-0")).arg("--config").arg(place.join("keyferry.toml"));
    for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] {
        agent.env_remove(name);
    }
    agent.env("AWS_SHARED_CREDENTIALS_FILE", place.join("none"));
    agent.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{lender}/"));
    agent.env("RUST_LOG", "trace");
    let log = fs::File::create(place.join("log")).unwrap();
    agent.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
    Agent(agent.spawn().unwrap())
}

/// The URL that a token is.
fn url(token: &str) -> String {
    let padded = token.replace('-', "+").replace('_', "/") + &"=".repeat((4 - token.len() % 4) % 4);
    String::from_utf8(decode_block(&padded).unwrap()).unwrap()
}

#[test]
fn an_agent_logs_in_to_msk_by_a_signed_token_and_renews_it_though_nothing_flows() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let (certificate, key) = certificate();
    fs::write(place.join("authority.pem"), certificate.to_pem().unwrap()).unwrap();
    let (broker, tokens) = broker(&certificate, &key);
    let agent = start(place, broker, lender());
    let log = || fs::read_to_string(place.join("log")).unwrap();
    let mut shown = Vec::new();
    // Whoever lends numbers the credentials: a higher number is a later token. The client may ask twice before it logs in.
    let mut numbers = BTreeSet::new();
    while numbers.len() < 3 {
        let token =
            tokens.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{numbers:?} and no other: {}", log()));
        let url = url(&token);
        let rest =
            url.strip_prefix("https://kafka.eu-central-1.amazonaws.com/?Action=kafka-cluster%3AConnect&");
        let (_, credential) = rest.and_then(|rest| rest.split_once("X-Amz-Credential=ASIA")).expect(&url);
        let (number, rest) = credential.split_once("%2F").expect(&url);
        assert!(rest.contains("%2Feu-central-1%2Fkafka-cluster%2Faws4_request&"), "{url}");
        let session = format!("X-Amz-Security-Token={SESSION}&");
        assert!(url.contains(&session) && url.contains("X-Amz-Signature="), "{url}");
        numbers.insert(number.parse::<u32>().unwrap());
        shown.push(token);
    }
    drop(agent);
    let log = log();
    let secrets = [SECRET, SESSION].into_iter().chain(shown.iter().map(String::as_str));
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
