//! A real broker with a listener of every kind of security, a real Keycloak realm as the issuer of tokens, and what else a secure client meets.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::json;
use xtask::cache::Cache;
use xtask::{parts, tool};

use crate::admin::Admin;
use crate::certificates::{Certificate, Validity};
use crate::http::Http;
use crate::keycloak::{Database, Distribution, Keycloak};
use crate::process::Server;
use crate::stage::jar;
use crate::{Error, Result, port, wait};

const START_LIMIT: Duration = Duration::from_secs(180);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const PARTITIONS: i32 = 3;
/// Any 16 bytes in URL-safe base 64.
const CLUSTER_ID: &str = "a2V5ZmVycnktc2VjdXJpdA";

/// The name that the brokers' certificates carry.
pub const HOST: &str = "localhost";
/// The SASL/PLAIN user who may do everything, and the password.
pub const PLAIN_USER: (&str, &str) = ("plain-user", "plain-secret");
/// The SASL/PLAIN user who may do nothing unless a test lets it, and the password.
pub const STRANGER: (&str, &str) = ("stranger", "stranger-secret");
/// The SCRAM user who may do everything, and the password at the start.
pub const SCRAM_USER: (&str, &str) = ("scram-user", "scram-secret");
/// The client of the realm who may do everything, and its secret.
pub const TOKEN_CLIENT: (&str, &str) = ("token-client", "token-secret");
/// The name in the certificates of clients.
pub const CERTIFICATE_USER: &str = "certificate-user";

const REALM: &str = "kafka";
/// Whom the realm's tokens are for.
const AUDIENCE: &str = "kafka";
/// How long an access token lives: short, so that it is renewed while a test runs, and long enough to be renewed in time by a slow machine. (A client logs in again when
/// 90 % of the life of its last token are over.)
pub const TOKEN_LIFE: Duration = Duration::from_secs(15);
/// The client whose tokens live so short that they have expired before long, its secret, and that life.
const HASTY_CLIENT: (&str, &str) = ("hasty-client", "hasty-secret");
const HASTY_LIFE: Duration = Duration::from_secs(3);

/// The certificates of the tests.
pub struct Certificates {
    /// The authority whom broker and clients believe.
    pub authority: Certificate,
    /// An authority whom nobody knows.
    pub foreign: Certificate,
}

impl Certificates {
    /// New ones.
    ///
    /// # Errors
    /// Where OpenSSL refuses.
    pub fn new() -> Result<Self> {
        Ok(Self {
            authority: Certificate::authority("Authority of the tests")?,
            foreign: Certificate::authority("Nobody's authority")?,
        })
    }

    /// A certificate of [`CERTIFICATE_USER`].
    ///
    /// # Errors
    /// Where OpenSSL refuses.
    pub fn client(&self, validity: Validity) -> Result<Certificate> {
        self.authority.issue(CERTIFICATE_USER, None, validity)
    }
}

/// What is wrong with the certificate of [`SecureKafka::faulty_servers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It has expired.
    Expired,
    /// It is for another host.
    OtherHost,
    /// Nobody knows who issued it.
    Foreign,
    /// Nothing.
    None,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Expired, Self::OtherHost, Self::Foreign, Self::None];

    fn file(self) -> &'static str {
        match self {
            Self::Expired => "expired.pem",
            Self::OtherHost => "other-host.pem",
            Self::Foreign => "foreign.pem",
            Self::None => "broker.pem",
        }
    }

    fn issue(self, certificates: &Certificates) -> Result<Certificate> {
        let Certificates { authority, foreign } = certificates;
        match self {
            Self::Expired => authority.issue("broker", Some(HOST), Validity::Expired),
            Self::OtherHost => authority.issue("broker", Some("elsewhere.example.org"), Validity::Long),
            Self::Foreign => foreign.issue("broker", Some(HOST), Validity::Long),
            Self::None => authority.issue("broker", Some(HOST), Validity::Long),
        }
    }
}

/// A broker with a listener of every kind.
#[derive(Debug)]
pub struct SecureKafka {
    libraries: PathBuf,
    directory: PathBuf,
    ports: Ports,
    _server: Server,
}

#[derive(Debug)]
struct Ports {
    plain: u16,
    tls: u16,
    sasl: u16,
    faulty: u16,
    controller: u16,
}

impl SecureKafka {
    /// Starts a broker below `directory`, whose tokens are issued by the realm at `issuer`.
    ///
    /// # Errors
    /// Where Kafka cannot be fetched or does not start.
    pub fn start(directory: &Path, certificates: &Certificates, issuer: &str) -> Result<Self> {
        Self::start_with(directory, certificates, Some(issuer))
    }

    /// The same without tokens.
    ///
    /// # Errors
    /// As there.
    pub fn start_without_tokens(directory: &Path, certificates: &Certificates) -> Result<Self> {
        Self::start_with(directory, certificates, None)
    }

    fn start_with(directory: &Path, certificates: &Certificates, issuer: Option<&str>) -> Result<Self> {
        let libraries = parts::kafka(&Cache::from_environment()?)?;
        let directory = directory.join("kafka");
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        for fault in Fault::ALL {
            let certificate = fault.issue(certificates)?;
            let text = certificate.key_pem()? + &certificate.pem()?;
            write(&directory.join(fault.file()), &text)?;
        }
        write(&directory.join("authority.pem"), &certificates.authority.pem()?)?;
        let ports = Ports {
            plain: port::free()?,
            tls: port::free()?,
            sasl: port::free()?,
            faulty: port::free()?,
            controller: port::free()?,
        };
        let configuration = directory.join("server.properties");
        write(&configuration, &properties(&ports, &directory, issuer))?;
        let mut format = java(&libraries, &directory, "kafka.tools.StorageTool");
        format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&configuration);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let (user, password) = SCRAM_USER;
            format.args(["--add-scram", &format!("{mechanism}=[name={user},password={password}]")]);
        }
        tool::run_silently(&mut format)?;
        let mut broker = java(&libraries, &directory, "kafka.Kafka");
        broker.arg(&configuration);
        let mut server = Server::start("Kafka", &mut broker, &directory.join("kafka.log"))?;
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", format!("127.0.0.1:{}", ports.plain)).create()?;
        wait::try_until("the start of Kafka", START_LIMIT, || {
            server.require_running()?;
            Ok(consumer.fetch_metadata(None, Duration::from_secs(1)).ok().map(drop))
        })?;
        Ok(Self { libraries, directory, ports, _server: server })
    }

    /// Where clients connect without encryption and authentication; they may do everything.
    pub fn plain_servers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// Where clients connect with TLS and a certificate of their own.
    pub fn tls_servers(&self) -> String {
        format!("{HOST}:{}", self.ports.tls)
    }

    /// Where clients connect with SASL over TLS, by any mechanism.
    pub fn sasl_servers(&self) -> String {
        format!("{HOST}:{}", self.ports.sasl)
    }

    /// Where clients connect with TLS to a broker whose certificate is not as it should be, see [`Self::present`]. They may do everything.
    pub fn faulty_servers(&self) -> String {
        format!("{HOST}:{}", self.ports.faulty)
    }

    /// Lets the broker present another certificate at [`Self::faulty_servers`].
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn present(&self, fault: Fault) -> Result<()> {
        let store = self.directory.join(fault.file());
        let change = AlterConfig::new(ResourceSpecifier::Broker(1));
        let store = store.to_string_lossy();
        let change = change.set("listener.name.faulty.ssl.keystore.location", &store);
        self.alter(&change)
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn create_topic(&self, name: &str) -> Result<()> {
        let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT));
        for result in pollster::block_on(self.admin()?.create_topics([&topic], &options))? {
            result.map_err(|(_, code)| rdkafka::error::KafkaError::AdminOp(code))?;
        }
        Ok(())
    }

    /// Lets a user write to a topic.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn grant_write(&self, user: &str, topic: &str) -> Result<()> {
        self.administer(&["grant", user, topic])
    }

    /// Lets a user know of a topic.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn grant_describe(&self, user: &str, topic: &str) -> Result<()> {
        self.administer(&["describe", user, topic])
    }

    /// Sets a property of a topic; the others that were set get their defaults again.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn configure_topic(&self, name: &str, property: &str, value: &str) -> Result<()> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(property, value);
        self.alter(&change)
    }

    fn alter(&self, change: &AlterConfig<'_>) -> Result<()> {
        let changed = pollster::block_on(self.admin()?.alter_configs([change], &AdminOptions::new()))?;
        changed.into_iter().try_for_each(|result| {
            result.map(drop).map_err(|(_, code)| rdkafka::error::KafkaError::AdminOp(code).into())
        })
    }

    /// Gives [`SCRAM_USER`] another password.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn set_scram_password(&self, mechanism: &str, password: &str) -> Result<()> {
        self.administer(&["password", SCRAM_USER.0, mechanism, password])
    }

    fn administer(&self, arguments: &[&str]) -> Result<()> {
        let source = self.directory.join("Administer.java");
        write(&source, include_str!("../java/Administer.java"))?;
        let mut java = tool::JAVA.command();
        java.arg("-XX:TieredStopAtLevel=1").arg("-cp").arg(self.libraries.join("*")).arg(&source);
        Ok(tool::run_silently(java.arg(self.plain_servers()).args(arguments))?)
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new().set("bootstrap.servers", self.plain_servers()).create()?)
    }
}

fn java(libraries: &Path, directory: &Path, class: &str) -> Command {
    let mut java = tool::JAVA.command();
    java.args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    // Kafka asks only those for keys that it is told to trust.
    java.arg("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=".to_owned() + &read_issuer(directory));
    java.arg("-cp").arg(libraries.join("*")).arg(class);
    java
}

fn read_issuer(directory: &Path) -> String {
    let text = fs::read_to_string(directory.join("server.properties")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("sasl.oauthbearer.jwks.endpoint.url="));
    line.unwrap_or_default().to_owned()
}

fn properties(ports: &Ports, directory: &Path, issuer: Option<&str>) -> String {
    let tokens = issuer.map(of_tokens).unwrap_or_default();
    let token_mechanism = if issuer.is_some() { ",OAUTHBEARER" } else { "" };
    let Ports { plain, tls, sasl, faulty, controller } = ports;
    let place = directory.display();
    let expired = Fault::Expired.file();
    let ((user, password), (stranger, stranger_password)) = (PLAIN_USER, STRANGER);
    let (scram_user, token_client) = (SCRAM_USER.0, TOKEN_CLIENT.0);
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{plain},TLS://{HOST}:{tls},SASL://{HOST}:{sasl},FAULTY://{HOST}:{faulty},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAIN:PLAINTEXT,TLS:SSL,SASL:SASL_SSL,FAULTY:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
ssl.keystore.type=PEM
ssl.keystore.location={place}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={place}/authority.pem
ssl.allow.dn.changes=true
ssl.allow.san.changes=true
listener.name.tls.ssl.client.auth=required
listener.name.faulty.ssl.keystore.type=PEM
listener.name.faulty.ssl.keystore.location={place}/{expired}
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512{token_mechanism}
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_{user}=\"{password}\" user_{stranger}=\"{stranger_password}\";
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
{tokens}authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{user};User:{scram_user};User:{token_client};User:CN={CERTIFICATE_USER}
log.dirs={place}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"
    )
}

/// What the broker is told of tokens that the realm at `issuer` issues.
fn of_tokens(issuer: &str) -> String {
    format!(
        "listener.name.sasl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.sasl.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.sasl.oauthbearer.connections.max.reauth.ms=60000
sasl.oauthbearer.jwks.endpoint.url={issuer}/protocol/openid-connect/certs
sasl.oauthbearer.expected.issuer={issuer}
sasl.oauthbearer.expected.audience={AUDIENCE}
sasl.oauthbearer.sub.claim.name=azp
"
    )
}

/// A realm of a real Keycloak that issues tokens.
pub struct Realm {
    keycloak: Keycloak,
    http: Http,
}

impl Realm {
    /// Starts a Keycloak below `directory` without waiting for it.
    ///
    /// # Errors
    /// Where it cannot be fetched or started.
    pub fn launch(directory: &Path) -> Result<Self> {
        let cache = Cache::from_environment()?;
        let distribution =
            Distribution::build(&cache, parts::Keycloak::V26_7, jar().ok().as_deref(), Database::File)?;
        let mut keycloak = Keycloak::new(&distribution, directory)?;
        keycloak.launch()?;
        Ok(Self { keycloak, http: Http::new() })
    }

    /// Waits until Keycloak serves, and creates the realm with [`TOKEN_CLIENT`].
    ///
    /// # Errors
    /// Where Keycloak does not start or refuses.
    pub fn settle(&mut self) -> Result<()> {
        self.keycloak.wait_until_it_serves()?;
        let hasty = json!({ "access.token.lifespan": HASTY_LIFE.as_secs().to_string() });
        Admin::new(self.keycloak.address()).post(
            "",
            &json!({
                "realm": REALM,
                "enabled": true,
                "accessTokenLifespan": TOKEN_LIFE.as_secs(),
                "clients": [client(TOKEN_CLIENT, json!({})), client(HASTY_CLIENT, hasty)],
            }),
        )
    }

    /// The issuer, as its tokens name it.
    pub fn issuer(&self) -> String {
        format!("{}/realms/{REALM}", self.keycloak.address())
    }

    /// Where tokens are to be had.
    pub fn token_endpoint(&self) -> String {
        format!("{}/protocol/openid-connect/token", self.issuer())
    }

    /// What the token endpoint answers to [`TOKEN_CLIENT`] now.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn token(&self) -> Result<String> {
        self.token_of(TOKEN_CLIENT)
    }

    /// An answer of the token endpoint whose token has expired.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn expired_token(&self) -> Result<String> {
        let token = self.token_of(HASTY_CLIENT);
        thread::sleep(HASTY_LIFE + Duration::from_secs(1));
        token
    }

    fn token_of(&self, (client, secret): (&str, &str)) -> Result<String> {
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        Ok(self.http.post_form(&self.token_endpoint(), &form)?.success()?.body)
    }
}

/// A client that gets tokens for itself.
fn client((id, secret): (&str, &str), attributes: serde_json::Value) -> serde_json::Value {
    json!({
        "clientId": id,
        "secret": secret,
        "publicClient": false,
        "serviceAccountsEnabled": true,
        "standardFlowEnabled": false,
        "attributes": attributes,
        "protocolMappers": [{
            "name": "audience",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-audience-mapper",
            "config": { "included.custom.audience": AUDIENCE, "access.token.claim": "true" },
        }],
    })
}

/// A token endpoint that answers what it is told to, or refuses connections.
pub struct Endpoint {
    port: u16,
    answer: Arc<Mutex<Answer>>,
}

/// What an [`Endpoint`] does.
pub enum Answer {
    /// It closes every connection, as a server does that is down.
    Nothing,
    /// It gives this token, whoever asks.
    Token(String),
    /// It gives a token of the realm.
    Of(Arc<Realm>),
}

impl Endpoint {
    /// Opens a port of this machine.
    ///
    /// # Errors
    /// Where there is none left.
    pub fn open(answer: Answer) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("bind", "127.0.0.1:0"))?;
        let port = listener.local_addr().map_err(Error::io("read the address of", "127.0.0.1:0"))?.port();
        let answer = Arc::new(Mutex::new(answer));
        let shared = Arc::clone(&answer);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // Whoever hangs up has no answer to miss.
                let _ = serve(connection, &shared.lock().unwrap_or_else(PoisonError::into_inner));
            }
        });
        Ok(Self { port, answer })
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    /// Lets it answer something else.
    pub fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

fn serve(mut connection: TcpStream, answer: &Answer) -> std::io::Result<()> {
    let body = match answer {
        Answer::Nothing => return Ok(()),
        Answer::Token(body) => body.clone(),
        Answer::Of(realm) => realm.token().map_err(std::io::Error::other)?,
    };
    let mut request = BufReader::new(&connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        request.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    request.take(length).read_to_end(&mut Vec::new())?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all((head + &body).as_bytes())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io("write", path))
}
