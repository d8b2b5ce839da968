//! Encryption and authentication: from single values to one consistent whole.

use std::path::{Path, PathBuf};

use crate::draft::{SaslDraft, SecurityDraft, TlsDraft};
use crate::input::Rejected;
use crate::jaas::LoginModule;
use crate::load::{Context, missing_option};
use crate::model::{
    AwsMskIam, ClientCredentials, ClientIdentity, Credentials, Kerberos, Mechanism, MissingOption, Sasl,
    Security, Tls, Trust,
};
use crate::secret::Secret;
use crate::settings::NO_KERBEROS;
use crate::stores::{OpenedStore, StoreFormat, StoreIdentity, StorePasswords};

const CA_FILE: &str = "destination.security.tls.ca_file";
const TRUSTSTORE_PASSWORD: &str = "destination.security.tls.truststore_password";
const CA_PEM: &str = "destination.security.tls.ca_pem";
const CERTIFICATE_FILE: &str = "destination.security.tls.certificate_file";
const CERTIFICATE_PEM: &str = "destination.security.tls.certificate_pem";
const KEY_FILE: &str = "destination.security.tls.key_file";
const KEY_PEM: &str = "destination.security.tls.key_pem";
const KEYSTORE_FILE: &str = "destination.security.tls.keystore_file";
const KEYSTORE_PASSWORD: &str = "destination.security.tls.keystore_password";
const MECHANISM: &str = "destination.security.sasl.mechanism";
const USERNAME: &str = "destination.security.sasl.username";
const PASSWORD: &str = "destination.security.sasl.password";
const TOKEN_ENDPOINT: &str = "destination.security.sasl.token_endpoint";
const CLIENT_ID: &str = "destination.security.sasl.client_id";
const CLIENT_SECRET: &str = "destination.security.sasl.client_secret";
const SCOPE: &str = "destination.security.sasl.scope";
const AWS_REGION: &str = "destination.security.sasl.aws_region";
const AWS_PROFILE: &str = "destination.security.sasl.aws_profile";
const KERBEROS_SERVICE_NAME: &str = "destination.security.sasl.kerberos_service_name";
const KERBEROS_PRINCIPAL: &str = "destination.security.sasl.kerberos_principal";
const KERBEROS_KEYTAB: &str = "destination.security.sasl.kerberos_keytab";
pub(crate) const JAAS_CONFIG: &str = "destination.security.sasl.jaas_config";

/// `None` if something is wrong (recorded in `context`) or missing (recorded in `missing`).
pub(crate) fn assemble(
    draft: SecurityDraft,
    context: &mut Context,
    missing: &mut Vec<MissingOption>,
) -> Option<Security> {
    let protocol = draft.protocol;
    if !protocol.uses_tls() {
        warn_of_unused(context, &[CA_FILE, CA_PEM, CERTIFICATE_FILE, CERTIFICATE_PEM, KEYSTORE_FILE], NO_TLS);
    }
    if !protocol.uses_sasl() {
        warn_of_unused(context, &[JAAS_CONFIG, MECHANISM, USERNAME], NO_SASL);
    }
    let tls = if protocol.uses_tls() { Some(tls(draft.tls, context, missing)?) } else { None };
    let sasl = if protocol.uses_sasl() { Some(sasl(draft.sasl, context, missing)?) } else { None };
    if tls.is_none() && matches!(sasl, Some(Sasl::AwsMskIam(_))) {
        return refuse(
            context,
            MECHANISM,
            "AWS_MSK_IAM is for TLS only; set the security protocol to SASL_SSL",
        );
    }
    Some(Security { tls, sasl })
}

const NO_TLS: &str = "the security protocol does not encrypt; it would need to be SSL or SASL_SSL";
const NO_SASL: &str =
    "the security protocol does not authenticate by SASL; it would need to be SASL_SSL or SASL_PLAINTEXT";

fn warn_of_unused(context: &mut Context, keys: &[&'static str], reason: &str) {
    for key in keys {
        if context.is_given(key) {
            context.warn_ignored(key, reason);
        }
    }
}

fn tls(draft: TlsDraft, context: &mut Context, missing: &mut Vec<MissingOption>) -> Option<Tls> {
    let verify_hostname = draft.verify_hostname;
    let cipher_suites = draft.cipher_suites.clone();
    let trust = trust(&draft, context);
    let identity = identity(draft, context, missing);
    Some(Tls { trust: trust?, identity: identity?, verify_hostname, cipher_suites })
}

fn trust(draft: &TlsDraft, context: &mut Context) -> Option<Trust> {
    match (&draft.ca_file, &draft.ca_pem) {
        (Some(_), Some(_)) => {
            refuse(context, CA_PEM, "a trust store file is given as well; keep one of the two")
        }
        (None, Some(pem)) => Some(Trust::Pem(pem.clone())),
        (Some(path), None) => match StoreFormat::of(path, draft.truststore_type) {
            Some(StoreFormat::Pkcs12 | StoreFormat::Jks) => trust_store(path, draft, context),
            Some(StoreFormat::Pem) | None => {
                if draft.truststore_password.is_some() {
                    context
                        .warn_ignored(TRUSTSTORE_PASSWORD, "certificate authorities in PEM need no password");
                }
                context.resolver.note(path);
                Some(Trust::File(path.clone()))
            }
        },
        (None, None) => Some(context.system_trust.clone().map_or(Trust::System, Trust::File)),
    }
}

fn trust_store(path: &Path, draft: &TlsDraft, context: &mut Context) -> Option<Trust> {
    let passwords =
        StorePasswords { store: draft.truststore_password.as_ref(), key: draft.key_password.as_ref() };
    let OpenedStore { authorities, .. } = open_store(path, CA_FILE, passwords, context)?;
    if authorities.is_empty() {
        return refuse(context, CA_FILE, &format!("{} holds no certificate of an authority", path.display()));
    }
    Some(Trust::Pem(authorities))
}

/// What the store at `path` holds, or `None` with the reason recorded.
fn open_store(
    path: &Path,
    key: &'static str,
    passwords: StorePasswords<'_>,
    context: &mut Context,
) -> Option<OpenedStore> {
    context.resolver.note(path);
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(context, key, &format!("{} cannot be read: {error}", path.display())),
    };
    let Some(open) = context.open_store else {
        return refuse(context, key, "key and trust stores cannot be opened here; give PEM files");
    };
    match open(&bytes, passwords) {
        Ok(store) => Some(store),
        Err(reason) => refuse(context, key, &format!("{} cannot be opened: {reason}", path.display())),
    }
}

/// The outer `None` is an error, the inner one means that the client shows no certificate.
fn identity(
    draft: TlsDraft,
    context: &mut Context,
    missing: &mut Vec<MissingOption>,
) -> Option<Option<ClientIdentity>> {
    let kinds = [
        draft.keystore_file.is_some(),
        draft.certificate_file.is_some() || draft.key_file.is_some(),
        draft.certificate_pem.is_some() || draft.key_pem.is_some(),
    ];
    if kinds.iter().filter(|given| **given).count() > 1 {
        let key = if draft.keystore_file.is_some() { KEYSTORE_FILE } else { CERTIFICATE_PEM };
        return refuse(
            context,
            key,
            "the client's certificate is given in more than one way; keep either the key store, or the certificate and \
             key files, or the certificate and key texts",
        );
    }
    if let Some(store) = draft.keystore_file {
        return key_store(
            &store,
            draft.keystore_type,
            draft.keystore_password,
            draft.key_password,
            context,
            missing,
        )
        .map(Some);
    }
    match (draft.certificate_file, draft.key_file) {
        (Some(certificate), Some(key)) => {
            return Some(Some(pem_files(certificate, key, draft.key_password, context)));
        }
        (Some(_), None) => missing.extend(missing_option(KEY_FILE, "the key of the client's certificate")),
        (None, Some(_)) => {
            missing.extend(missing_option(CERTIFICATE_FILE, "the certificate of the client's key"))
        }
        (None, None) => {}
    }
    match (draft.certificate_pem, draft.key_pem) {
        (Some(certificate), Some(key)) => {
            return Some(Some(ClientIdentity::Pem { certificate, key, key_password: draft.key_password }));
        }
        (Some(_), None) => missing.extend(missing_option(KEY_PEM, "the key of the client's certificate")),
        (None, Some(_)) => {
            missing.extend(missing_option(CERTIFICATE_PEM, "the certificate of the client's key"))
        }
        (None, None) => {}
    }
    Some(None)
}

fn key_store(
    store: &Path,
    declared: Option<StoreFormat>,
    store_password: Option<Secret>,
    key_password: Option<Secret>,
    context: &mut Context,
    missing: &mut Vec<MissingOption>,
) -> Option<ClientIdentity> {
    if StoreFormat::of(store, declared) == Some(StoreFormat::Pem) {
        let key_password = key_password.or(store_password);
        return Some(pem_files(store.to_owned(), store.to_owned(), key_password, context));
    }
    if store_password.is_none() {
        missing.extend(missing_option(KEYSTORE_PASSWORD, "the password of the key store"));
        return None;
    }
    let passwords = StorePasswords { store: store_password.as_ref(), key: key_password.as_ref() };
    match open_store(store, KEYSTORE_FILE, passwords, context)?.identity {
        Some(StoreIdentity { certificates, key }) => {
            Some(ClientIdentity::Pem { certificate: certificates, key, key_password: None })
        }
        None => {
            refuse(context, KEYSTORE_FILE, &format!("{} holds no key with its certificate", store.display()))
        }
    }
}

fn pem_files(
    certificate: PathBuf,
    key: PathBuf,
    key_password: Option<Secret>,
    context: &mut Context,
) -> ClientIdentity {
    context.resolver.note(&certificate);
    context.resolver.note(&key);
    ClientIdentity::PemFiles { certificate, key, key_password }
}

fn sasl(draft: SaslDraft, context: &mut Context, missing: &mut Vec<MissingOption>) -> Option<Sasl> {
    let draft = with_login_module(draft, context)?;
    let Some(mechanism) = draft.mechanism else {
        missing.extend(missing_option(MECHANISM, "how the client proves who it is"));
        return None;
    };
    match mechanism {
        Mechanism::Plain => credentials(draft, missing).map(Sasl::Plain),
        Mechanism::ScramSha256 => credentials(draft, missing).map(Sasl::ScramSha256),
        Mechanism::ScramSha512 => credentials(draft, missing).map(Sasl::ScramSha512),
        Mechanism::OAuthBearer => client_credentials(draft, missing).map(Sasl::OAuthBearer),
        Mechanism::AwsMskIam => aws_msk_iam(draft, context, missing).map(Sasl::AwsMskIam),
        Mechanism::Gssapi => kerberos(draft, context, missing).map(Sasl::Gssapi),
    }
}

fn credentials(draft: SaslDraft, missing: &mut Vec<MissingOption>) -> Option<Credentials> {
    require(
        &draft.username,
        USERNAME,
        "the user of the SASL mechanism, if `sasl-jaas-config` does not name it",
        missing,
    );
    require(
        &draft.password,
        PASSWORD,
        "the password of the SASL mechanism, if `sasl-jaas-config` does not hold it",
        missing,
    );
    Some(Credentials { username: draft.username?, password: draft.password? })
}

fn client_credentials(draft: SaslDraft, missing: &mut Vec<MissingOption>) -> Option<ClientCredentials> {
    require(&draft.token_endpoint, TOKEN_ENDPOINT, "where OAUTHBEARER gets its token", missing);
    require(
        &draft.client_id,
        CLIENT_ID,
        "the client's id at the issuer, if `sasl-jaas-config` does not name it",
        missing,
    );
    require(
        &draft.client_secret,
        CLIENT_SECRET,
        "the client's secret at the issuer, if `sasl-jaas-config` does not hold it",
        missing,
    );
    Some(ClientCredentials {
        token_endpoint: draft.token_endpoint?,
        client_id: draft.client_id?,
        client_secret: draft.client_secret?,
        scope: draft.scope,
    })
}

fn aws_msk_iam(
    draft: SaslDraft,
    context: &mut Context,
    missing: &mut Vec<MissingOption>,
) -> Option<AwsMskIam> {
    let region = draft.aws_region.or_else(|| context.aws_region.clone());
    require(&region, AWS_REGION, "the region of the MSK cluster, if AWS_REGION does not name it", missing);
    let region = word(AWS_REGION, region?, context)?;
    let profile = match draft.aws_profile {
        Some(profile) => Some(word(AWS_PROFILE, profile, context)?),
        None => None,
    };
    Some(AwsMskIam { region, profile })
}

fn kerberos(draft: SaslDraft, context: &mut Context, missing: &mut Vec<MissingOption>) -> Option<Kerberos> {
    require(&draft.kerberos_principal, KERBEROS_PRINCIPAL, "the client's Kerberos principal", missing);
    require(&draft.kerberos_keytab, KERBEROS_KEYTAB, "the file with the client's Kerberos keys", missing);
    let service_name = draft.kerberos_service_name.unwrap_or_else(|| "kafka".to_owned());
    let service_name = word(KERBEROS_SERVICE_NAME, service_name, context)?;
    let principal = word(KERBEROS_PRINCIPAL, draft.kerberos_principal?, context)?;
    let keytab = draft.kerberos_keytab?;
    word(KERBEROS_KEYTAB, keytab.display().to_string(), context)?;
    Some(Kerberos { service_name, principal, keytab })
}

/// A value that means nothing else where it is put together with others: in a command line of librdkafka's, say.
fn word(key: &'static str, value: String, context: &mut Context) -> Option<String> {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "_.-/@".contains(one);
    if value.is_empty() || !value.chars().all(is_plain) {
        return refuse(context, key, "it may have letters, digits and `_ . - / @` only");
    }
    Some(value)
}

fn require<T>(value: &Option<T>, key: &'static str, purpose: &'static str, missing: &mut Vec<MissingOption>) {
    if value.is_none() {
        missing.extend(missing_option(key, purpose));
    }
}

/// Fills in what the login module says, except where a source of more weight says it by itself.
fn with_login_module(mut draft: SaslDraft, context: &mut Context) -> Option<SaslDraft> {
    let Some(jaas_config) = draft.jaas_config.take() else { return Some(draft) };
    let module = match LoginModule::parse(jaas_config.expose()) {
        Ok(module) => module,
        Err(error) => {
            context.reject(JAAS_CONFIG, Rejected::Expected(error.to_string()));
            return None;
        }
    };
    let module = resolved(module, context)?;
    match module.simple_name() {
        name @ ("PlainLoginModule" | "ScramLoginModule") => {
            if draft.mechanism == Some(Mechanism::OAuthBearer) {
                return refuse(
                    context,
                    JAAS_CONFIG,
                    "the mechanism OAUTHBEARER needs the OAuthBearerLoginModule",
                );
            }
            if name == "PlainLoginModule" {
                draft.mechanism.get_or_insert(Mechanism::Plain);
            }
            let login = Login { module: &module, context };
            login.fill(&mut draft.username, USERNAME, &["username"], str::to_owned);
            login.fill(&mut draft.password, PASSWORD, &["password"], Secret::new);
            Some(draft)
        }
        "OAuthBearerLoginModule" => {
            if *draft.mechanism.get_or_insert(Mechanism::OAuthBearer) != Mechanism::OAuthBearer {
                return refuse(
                    context,
                    JAAS_CONFIG,
                    "the OAuthBearerLoginModule goes with the mechanism OAUTHBEARER only; set `sasl-mechanism` to it",
                );
            }
            let login = Login { module: &module, context };
            login.fill(&mut draft.client_id, CLIENT_ID, &["clientId", "oauth.client.id"], str::to_owned);
            login.fill(
                &mut draft.client_secret,
                CLIENT_SECRET,
                &["clientSecret", "oauth.client.secret"],
                Secret::new,
            );
            login.fill(&mut draft.scope, SCOPE, &["scope", "oauth.scope"], str::to_owned);
            login.fill(
                &mut draft.token_endpoint,
                TOKEN_ENDPOINT,
                &["oauth.token.endpoint.uri"],
                str::to_owned,
            );
            Some(draft)
        }
        "Krb5LoginModule" => {
            if !cfg!(feature = "gssapi") {
                return refuse(context, JAAS_CONFIG, NO_KERBEROS);
            }
            if *draft.mechanism.get_or_insert(Mechanism::Gssapi) != Mechanism::Gssapi {
                return refuse(
                    context,
                    JAAS_CONFIG,
                    "the Krb5LoginModule goes with the mechanism GSSAPI only",
                );
            }
            let login = Login { module: &module, context };
            login.fill(&mut draft.kerberos_principal, KERBEROS_PRINCIPAL, &["principal"], str::to_owned);
            login.fill(&mut draft.kerberos_keytab, KERBEROS_KEYTAB, &["keyTab"], PathBuf::from);
            login.fill(
                &mut draft.kerberos_service_name,
                KERBEROS_SERVICE_NAME,
                &["serviceName"],
                str::to_owned,
            );
            Some(draft)
        }
        "IAMLoginModule" => {
            if *draft.mechanism.get_or_insert(Mechanism::AwsMskIam) != Mechanism::AwsMskIam {
                return refuse(
                    context,
                    JAAS_CONFIG,
                    "the IAMLoginModule goes with the mechanism AWS_MSK_IAM only; set `sasl-mechanism` to it",
                );
            }
            if module.option("awsRoleArn").is_some() {
                return refuse(
                    context,
                    JAAS_CONFIG,
                    "the agent takes on no AWS role by itself; give it the role's credentials, by its container or in a \
                     profile of the shared credentials file (`awsProfileName`)",
                );
            }
            let login = Login { module: &module, context };
            login.fill(&mut draft.aws_profile, AWS_PROFILE, &["awsProfileName"], str::to_owned);
            Some(draft)
        }
        _ => refuse(
            context,
            JAAS_CONFIG,
            "Java's login modules cannot run in the agent; those of Kafka are understood: PlainLoginModule, \
             ScramLoginModule, OAuthBearerLoginModule and MSK's IAMLoginModule",
        ),
    }
}

/// The module with what the references in its options stand for, unless the whole login configuration came from one.
fn resolved(module: LoginModule, context: &mut Context) -> Option<LoginModule> {
    if context.comes_from_reference(JAAS_CONFIG) {
        return Some(module);
    }
    let resolver = &mut context.resolver;
    match module.try_map_options(|value| resolver.resolve(value).map(std::borrow::Cow::into_owned)) {
        Ok(module) => Some(module),
        Err(unresolved) => {
            context.reject(JAAS_CONFIG, Rejected::Unresolved(unresolved.to_string()));
            None
        }
    }
}

struct Login<'a> {
    module: &'a LoginModule,
    context: &'a Context<'a>,
}

impl Login<'_> {
    /// Takes the first of the module's options that exists, unless `slot` was filled by a source of more weight.
    fn fill<'m, T>(&'m self, slot: &mut Option<T>, key: &str, names: &[&str], make: impl Fn(&'m str) -> T) {
        let outweighed = slot.is_some() && self.context.weight_of(key) >= self.context.weight_of(JAAS_CONFIG);
        if outweighed {
            return;
        }
        if let Some(value) = names.iter().find_map(|name| self.module.option(name)) {
            *slot = Some(make(value));
        }
    }
}

fn refuse<T>(context: &mut Context, key: &'static str, remedy: &str) -> Option<T> {
    context.reject(key, Rejected::Refused(remedy.to_owned()));
    None
}
