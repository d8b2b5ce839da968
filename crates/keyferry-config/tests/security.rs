//! Encryption and authentication: what the sources say, what librdkafka is told, and that no secret shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use keyferry_config::{
    Config, Loaded, OpenedStore, Readiness, Secret, Sources, StoreIdentity, StorePasswords, librdkafka, load,
};
use proptest::prelude::*;

type Options<'a> = &'a [(&'a str, &'a str)];

/// Opens every store, and tells by which password.
fn open(_: &[u8], passwords: StorePasswords<'_>) -> Result<OpenedStore, String> {
    let password = passwords.store.map_or("none", Secret::expose);
    match password {
        "wrong" => Err("the password is wrong".to_owned()),
        "empty" => Ok(OpenedStore { authorities: String::new(), identity: None }),
        _ => Ok(OpenedStore {
            authorities: format!("authorities opened by {password}"),
            identity: Some(StoreIdentity {
                certificates: format!("certificates opened by {password}"),
                key: Secret::new(format!("key opened by {password}")),
            }),
        }),
    }
}

fn needed(options: Options<'_>) -> Sources {
    Sources::new()
        .with_stores(open)
        .with_options([("bootstrap-servers", "kafka:9092"), ("topic-events", "events")])
        .with_options(options.iter().copied())
}

fn only(config: Config) -> Readiness {
    config.destinations.into_iter().next().unwrap_or_else(|| panic!("no destination"))
}

/// What librdkafka is told of security, or what is missing or wrong.
fn outcome(sources: &Sources) -> Result<BTreeMap<String, String>, String> {
    let Loaded { config, .. } = load(sources).map_err(|errors| errors.to_string())?;
    match only(config) {
        Readiness::Complete(destination) => Ok(librdkafka::properties(&destination)
            .into_iter()
            .filter(|(name, _)| {
                ["sasl.", "ssl.", "https.", "security."].iter().any(|prefix| name.starts_with(prefix))
            })
            .map(|(name, value)| (name, value.expose().to_owned()))
            .collect()),
        Readiness::Incomplete { missing, .. } => {
            let names: Vec<&str> = missing.iter().map(|option| option.option).collect();
            Err(format!("missing {}", names.join(" ")))
        }
        Readiness::Unresolved { reasons, .. } => Err(reasons.join("; ")),
    }
}

fn expect(sources: &Sources, expected: Options<'_>) {
    let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(outcome(sources), Ok(expected));
}

const SASL_PLAIN_TEXT: (&str, &str) = ("security-protocol", "SASL_PLAINTEXT");

#[test]
fn user_and_password_come_from_the_login_module() {
    for (mechanism, module) in [
        ("PLAIN", "org.apache.kafka.common.security.plain.PlainLoginModule"),
        ("SCRAM-SHA-256", "org.apache.kafka.common.security.scram.ScramLoginModule"),
        ("SCRAM-SHA-512", "org.apache.kafka.common.security.scram.ScramLoginModule"),
    ] {
        let jaas = format!("{module} required\n  username=\"u\"\n  password=\"p;\\\"\\\\=q\";");
        expect(
            &needed(&[SASL_PLAIN_TEXT, ("sasl-mechanism", mechanism), ("sasl-jaas-config", &jaas)]),
            &[
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanisms", mechanism),
                ("sasl.username", "u"),
                ("sasl.password", "p;\"\\=q"),
            ],
        );
    }
}

#[test]
fn the_plain_login_module_implies_its_mechanism_and_the_scram_one_does_not() {
    let plain = needed(&[
        SASL_PLAIN_TEXT,
        ("sasl-jaas-config", "x.PlainLoginModule required username=u password=p;"),
    ]);
    assert_eq!(
        outcome(&plain).map(|properties| properties["sasl.mechanisms"].clone()),
        Ok("PLAIN".to_owned())
    );
    let scram = needed(&[
        SASL_PLAIN_TEXT,
        ("sasl-jaas-config", "x.ScramLoginModule required username=u password=p;"),
    ]);
    assert_eq!(outcome(&scram), Err("missing sasl-mechanism".to_owned()));
}

#[test]
fn what_sasl_lacks_is_missing_and_no_error() {
    for (options, missing) in [
        (vec![], "missing sasl-mechanism"),
        (vec![("sasl-mechanism", "PLAIN")], "missing sasl-username sasl-password"),
        (vec![("sasl-mechanism", "PLAIN"), ("sasl-username", "u")], "missing sasl-password"),
        (
            vec![("sasl-mechanism", "OAUTHBEARER")],
            "missing sasl-oauthbearer-token-endpoint-url sasl-oauthbearer-client-credentials-client-id \
             sasl-oauthbearer-client-credentials-client-secret",
        ),
    ] {
        let mut all = vec![SASL_PLAIN_TEXT];
        all.extend(options);
        assert_eq!(outcome(&needed(&all)), Err(missing.to_owned()));
    }
}

#[test]
fn a_token_comes_from_the_issuer() {
    let expected: Options<'_> = &[
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanisms", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", "https://kc/token"),
        ("sasl.oauthbearer.client.id", "me"),
        ("sasl.oauthbearer.client.secret", "s"),
        ("sasl.oauthbearer.scope", "kafka"),
        ("ssl.endpoint.identification.algorithm", "https"),
        ("ssl.ca.location", "probe"),
        ("https.ca.location", "probe"),
    ];
    let kafka = "a.OAuthBearerLoginModule required clientId=\"me\" clientSecret='s' scope=kafka;";
    expect(
        &needed(&[
            ("security-protocol", "sasl_ssl"),
            ("sasl-oauthbearer-token-endpoint-url", "https://kc/token"),
            ("sasl-login-callback-handler-class", "org.example.secured.OAuthBearerLoginCallbackHandler"),
            ("sasl-jaas-config", kafka),
        ]),
        expected,
    );
    let strimzi = "a.OAuthBearerLoginModule required oauth.client.id=me oauth.client.secret=s oauth.scope=kafka \
                   oauth.token.endpoint.uri=\"https://kc/token\";";
    expect(&needed(&[("security-protocol", "SASL_SSL"), ("sasl-jaas-config", strimzi)]), expected);
}

const MSK: Options<'_> = &[("security-protocol", "SASL_SSL"), ("sasl-mechanism", "AWS_MSK_IAM")];

#[test]
fn what_msk_takes_is_a_token_that_is_made_here() {
    let token = |config: &'static str| {
        [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("sasl.oauthbearer.config", config),
            ("ssl.endpoint.identification.algorithm", "https"),
            ("ssl.ca.location", "probe"),
        ]
    };
    let region = ("sasl-aws-region", "eu-west-1");
    let given = [MSK, &[region, ("sasl-aws-profile", "msk")]].concat();
    expect(&needed(&given), &token("aws-msk-iam region=eu-west-1 profile=msk"));
    let java = [
        ("security-protocol", "SASL_SSL"),
        ("sasl-client-callback-handler-class", "software.amazon.msk.auth.iam.IAMClientCallbackHandler"),
        ("sasl-jaas-config", "software.amazon.msk.auth.iam.IAMLoginModule required awsProfileName=msk;"),
        region,
    ];
    expect(&needed(&java), &token("aws-msk-iam region=eu-west-1 profile=msk"));
    let variables = [("AWS_DEFAULT_REGION", "eu-west-3"), ("AWS_REGION", "eu-west-2")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    expect(&needed(MSK).with_environment(variables), &token("aws-msk-iam region=eu-west-2"));
    assert_eq!(outcome(&needed(MSK)), Err("missing sasl-aws-region".to_owned()));
}

#[test]
fn what_msk_cannot_take_is_refused() {
    let plain = [SASL_PLAIN_TEXT, ("sasl-mechanism", "AWS_MSK_IAM"), ("sasl-aws-region", "eu-west-1")];
    let odd = [MSK, &[("sasl-aws-region", "eu-west-1 profile=other")]].concat();
    for (options, expected) in [(&plain[..], "AWS_MSK_IAM is for TLS only"), (&odd, "it may have letters")] {
        let message = outcome(&needed(options)).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[cfg(feature = "gssapi")]
#[test]
fn kerberos_is_told_who_the_client_is_and_nothing_that_a_shell_would_obey() {
    let given = |principal: &'static str| {
        let jaas = format!(
            "Krb5LoginModule required useKeyTab=true keyTab=\"/etc/k.keytab\" principal=\"{principal}\";"
        );
        outcome(&needed(&[SASL_PLAIN_TEXT, ("sasl-jaas-config", &jaas)]))
    };
    let properties = given("keyferry/host@EXAMPLE.ORG").unwrap();
    assert_eq!(properties["sasl.mechanisms"], "GSSAPI");
    assert_eq!(properties["sasl.kerberos.service.name"], "kafka");
    assert_eq!(properties["sasl.kerberos.principal"], "keyferry/host@EXAMPLE.ORG");
    assert_eq!(properties["sasl.kerberos.keytab"], "/etc/k.keytab");
    let message = given("keyferry; rm -rf /").unwrap_err();
    assert!(message.contains("it may have letters"), "{message}");
}

#[test]
fn a_login_module_that_cannot_be_used_is_refused_with_its_replacement() {
    for (mechanism, jaas, expected) in [
        #[cfg(not(feature = "gssapi"))]
        (
            None,
            "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true;",
            "this agent is built without Kerberos: build it with the cargo feature `gssapi`",
        ),
        (
            None,
            "software.amazon.msk.auth.iam.IAMLoginModule required awsRoleArn=\"arn:aws:iam::1:role/x\";",
            "the agent takes on no AWS role by itself",
        ),
        (
            Some("PLAIN"),
            "IAMLoginModule required;",
            "the IAMLoginModule goes with the mechanism AWS_MSK_IAM only",
        ),
        (None, "com.example.Own required a=b;", "Java's login modules cannot run in the agent"),
        (
            Some("OAUTHBEARER"),
            "PlainLoginModule required username=u password=p;",
            "the mechanism OAUTHBEARER needs",
        ),
        (
            Some("PLAIN"),
            "OAuthBearerLoginModule required clientId=u;",
            "the OAuthBearerLoginModule goes with",
        ),
    ] {
        let mut options = vec![SASL_PLAIN_TEXT, ("sasl-jaas-config", jaas)];
        options.extend(mechanism.map(|mechanism| ("sasl-mechanism", mechanism)));
        let message = outcome(&needed(&options)).unwrap_err();
        let prefix = "option `sasl-jaas-config` (from Keycloak's configuration): ";
        assert!(message.starts_with(&format!("{prefix}{expected}")), "{message}");
    }
}

#[test]
fn a_faulty_login_configuration_is_named_without_its_text() {
    for (jaas, expected) in [
        (";", "there is no login module"),
        ("PlainLoginModule", "there is no control flag such as `required`"),
        ("PlainLoginModule username=u password=hush;", "there is no control flag"),
        ("PlainLoginModule required username=u password=hush", "expected `;` after the last option"),
        ("PlainLoginModule required username u password=hush;", "expected `name=value` for each option"),
        ("PlainLoginModule required username=u password=hu!sh;", "expected `name=value` for each option"),
        ("PlainLoginModule required password=\"hush;", "expected a closing quote"),
        ("PlainLoginModule required password=\"hu\nsh\";", "expected a closing quote"),
        ("PlainLoginModule required password=hush; Other required;", "expected one login module"),
    ] {
        let message = outcome(&needed(&[SASL_PLAIN_TEXT, ("sasl-jaas-config", jaas)])).unwrap_err();
        assert!(
            message.starts_with("option `sasl-jaas-config` (from Keycloak's configuration): expected "),
            "{message}"
        );
        assert!(message.contains(expected) && !message.contains("hu"), "{message}");
    }
}

#[test]
fn quotes_escapes_and_comments_are_javas() {
    for (value, password) in [
        ("plain", "plain"),
        ("a.b-c_d$9", "a.b-c_d$9"),
        ("\"with blank\"", "with blank"),
        ("'single \"inside\"'", "single \"inside\""),
        (r#""\"q\" \\ \t \101 \7z \478 \x""#, "\"q\" \\ \t A \u{7}z \u{27}8 x"),
        ("\"// no comment\"", "// no comment"),
        ("/* comment */ \"p\" // to the end\n", "p"),
        ("\"p\" username=\"second\"", "p"),
    ] {
        let jaas = format!("PlainLoginModule required username=first password={value};");
        let properties = outcome(&needed(&[SASL_PLAIN_TEXT, ("sasl-jaas-config", &jaas)])).unwrap();
        assert_eq!(properties["sasl.password"], password, "{jaas}");
        let user = if value.contains("second") { "second" } else { "first" };
        assert_eq!(properties["sasl.username"], user);
    }
}

#[test]
fn the_source_of_more_weight_decides_between_login_module_and_single_options() {
    let jaas = "PlainLoginModule required username=module password=p;";
    let file = "[destination.security.sasl]\nusername = \"file\"\npassword = \"file\"\n";
    let below =
        needed(&[SASL_PLAIN_TEXT, ("sasl-jaas-config", jaas)]).with_file_text(Path::new("k.toml"), file);
    assert_eq!(
        outcome(&below).map(|properties| properties["sasl.username"].clone()),
        Ok("module".to_owned())
    );
    let above = needed(&[SASL_PLAIN_TEXT, ("sasl-username", "option")])
        .with_environment([("KAFKA_SASL_JAAS_CONFIG", jaas)]);
    let properties = outcome(&above).unwrap();
    assert_eq!((properties["sasl.username"].as_str(), properties["sasl.password"].as_str()), ("option", "p"));
}

#[test]
fn the_check_of_the_brokers_name_goes_by_kafkas_words() {
    for (value, expected) in
        [("https", "https"), ("HTTPS", "https"), ("disabled", "none"), ("", "none"), ("none", "none")]
    {
        let sources =
            needed(&[("security-protocol", "SSL"), ("ssl-endpoint-identification-algorithm", value)]);
        expect(
            &sources,
            &[
                ("security.protocol", "SSL"),
                ("ssl.ca.location", "probe"),
                ("ssl.endpoint.identification.algorithm", expected),
            ],
        );
    }
}

#[test]
fn java_names_of_cipher_suites_become_those_of_openssl() {
    let suites = |value| outcome(&needed(&[("security-protocol", "SSL"), ("ssl-cipher-suites", value)]));
    let both = suites(
        "TLS_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_RSA_WITH_AES_128_GCM_SHA256",
    );
    assert_eq!(both.unwrap()["ssl.cipher.suites"], "ECDHE-RSA-AES256-GCM-SHA384:AES128-GCM-SHA256");
    assert!(!suites("TLS_AES_256_GCM_SHA384").unwrap().contains_key("ssl.cipher.suites"));
    assert!(suites("TLS_OWN").unwrap_err().contains("`TLS_OWN` has no known OpenSSL name: give the suites"));
}

const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----\n";
const PKCS12: &[u8] = &[0x30, 0x82, 0x0A, 0x00];
const JKS: &[u8] = &[0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2];

#[test]
fn the_content_of_a_store_decides_over_its_name_and_declared_type() {
    let folder = tempfile::tempdir().unwrap();
    let store = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let trust = |path: &str, kind: &str| {
        outcome(&needed(&[
            ("security-protocol", "SSL"),
            ("ssl-truststore-location", path),
            ("ssl-truststore-type", kind),
            ("ssl-truststore-password", "t"),
        ]))
    };
    let keys = |path: &str, kind: &str| {
        outcome(&needed(&[
            ("security-protocol", "SSL"),
            ("ssl-keystore-location", path),
            ("ssl-keystore-type", kind),
            ("ssl-keystore-password", "p"),
        ]))
    };

    let pem = store("pem.jks", PEM);
    assert_eq!(trust(&pem, "JKS").unwrap()["ssl.ca.location"], pem);
    let identity = keys(&pem, "").unwrap();
    assert_eq!((&identity["ssl.certificate.location"], &identity["ssl.key.location"]), (&pem, &pem));

    for (name, content) in [("p12.jks", PKCS12), ("jks.pem", JKS)] {
        let path = store(name, content);
        assert_eq!(trust(&path, "PEM").unwrap()["ssl.ca.pem"], "authorities opened by t", "{name}");
        let identity = keys(&path, "PEM").unwrap();
        assert_eq!(identity["ssl.certificate.pem"], "certificates opened by p", "{name}");
        assert_eq!(identity["ssl.key.pem"], "key opened by p", "{name}");
        assert!(!identity.contains_key("ssl.key.password"), "{name}");
    }
    for (path, kind) in [("/nowhere/a.p12", ""), ("/nowhere/a", "jks"), ("/nowhere/a.p12", "PEM")] {
        let declared_pem = kind == "PEM";
        let outcome = trust(path, kind);
        assert_eq!(outcome.is_ok(), declared_pem, "{path} {kind}");
        if let Err(message) = outcome {
            let told = format!(
                "option `ssl-truststore-location` (from Keycloak's configuration): {path} cannot be read"
            );
            assert!(message.starts_with(&told), "{message}");
        }
    }
    assert_eq!(trust("/nowhere/a.jks", "PEM").unwrap()["ssl.ca.location"], "/nowhere/a.jks");
}

#[test]
fn a_store_that_cannot_be_used_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::write(&path, JKS).unwrap();
    let path = path.to_str().unwrap();
    let trust = |password| {
        let options = [("ssl-truststore-location", path), ("ssl-truststore-password", password)];
        outcome(&needed(&[("security-protocol", "SSL")]).with_options(options)).unwrap_err()
    };
    assert!(trust("wrong").ends_with(&format!("{path} cannot be opened: the password is wrong")));
    assert!(trust("empty").ends_with(&format!("{path} holds no certificate of an authority")));
    let keys = [("ssl-keystore-location", path), ("ssl-keystore-password", "empty")];
    let message = outcome(&needed(&[("security-protocol", "SSL")]).with_options(keys)).unwrap_err();
    assert!(message.ends_with(&format!("{path} holds no key with its certificate")), "{message}");
}

#[test]
fn the_files_that_values_come_from_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let (authority, store, password) = (path("a.pem", PEM), path("k.jks", JKS), path("password", b"p\n"));
    let reference = format!("${{file:{}}}", password.display());
    let sources = needed(&[
        ("security-protocol", "SSL"),
        ("ssl-truststore-location", authority.to_str().unwrap()),
        ("ssl-keystore-location", store.to_str().unwrap()),
        ("ssl-keystore-password", &reference),
    ]);
    let files: Vec<_> = load(&sources).unwrap().files.into_iter().collect();
    assert_eq!(files, [authority, store, password]);
}

#[test]
fn a_value_may_be_kept_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    fs::write(&path, "hunter2\n").unwrap();
    let reference = format!("${{file:{}}}", path.display());
    let toml = format!(
        "[destination]\nbootstrap_servers = [\"${{env:BROKER}}:9092\", \"b:1\"]\n\
         [destination.security.sasl]\npassword = \"{reference}\"\nusername = \"${{env:NAME}}\"\n\
         [destination.librdkafka]\n\"socket.nagle.disable\" = \"${{env:NAGLE}}\"\n"
    );
    let sources = Sources::new()
        .with_file_text(Path::new("k.toml"), toml)
        .with_environment([("BROKER", "kafka-1"), ("NAME", "ferry"), ("NAGLE", "true")])
        .with_options([SASL_PLAIN_TEXT, ("topic-events", "events"), ("sasl-mechanism", "PLAIN")]);
    let loaded = load(&sources).unwrap();
    let destination = only(loaded.config).complete().unwrap().clone();
    let properties: BTreeMap<String, String> = librdkafka::properties(&destination)
        .into_iter()
        .map(|(name, value)| (name, value.expose().to_owned()))
        .collect();
    assert_eq!(properties["bootstrap.servers"], "kafka-1:9092,b:1");
    assert_eq!(properties["sasl.username"], "ferry");
    assert_eq!(properties["sasl.password"], "hunter2");
    assert_eq!(properties["socket.nagle.disable"], "true");
    assert!(format!("{destination:?}").contains("\"socket.nagle.disable\": <redacted>"), "{destination:?}");
}

#[test]
fn a_login_configuration_may_hold_references_or_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let reference = format!("${{file:{}}}", path.display());
    let outcome = |jaas: &str| outcome(&needed(&[SASL_PLAIN_TEXT, ("sasl-jaas-config", jaas)]));
    // What would end the option, the module, or begin another reference if it were read as a part of the login configuration.
    for password in ["plain", "a\" b=\"c", "x\\\";", "${env:PATH}"] {
        fs::write(&path, password).unwrap();
        let properties =
            outcome(&format!("PlainLoginModule required username=u password=\"{reference}\";")).unwrap();
        assert_eq!(properties["sasl.password"], password);
    }
    fs::write(&path, "PlainLoginModule required username=u password=\"${env:PATH}\";\n").unwrap();
    assert_eq!(outcome(&reference).unwrap()["sasl.password"], "${env:PATH}");
    let missing =
        outcome("PlainLoginModule required username=u password=\"hush${env:NOT_SET}\";").unwrap_err();
    assert_eq!(
        missing,
        "option `sasl-jaas-config` (from Keycloak's configuration): `${env:NOT_SET}`: the variable is not set"
    );
}

#[test]
fn an_error_about_a_value_from_elsewhere_names_the_place_and_not_the_value() {
    for (key, value) in [("linger", "hunter2"), ("max_in_flight", "77"), ("compression", "hunter2")] {
        let toml = format!("[destination.delivery]\n{key} = \"${{env:VALUE}}\"\n");
        let sources =
            needed(&[]).with_file_text(Path::new("k.toml"), toml).with_environment([("VALUE", value)]);
        let message = outcome(&sources).unwrap_err();
        let told = format!("option `destination.delivery.{key}` (from k.toml, line 2): expected ");
        assert!(message.starts_with(&told) && !message.contains(value), "{message}");
    }
    let sources = needed(&[("max-in-flight-requests-per-connection", "${env:VALUE}")])
        .with_environment([("VALUE", "77")]);
    let warnings = load(&sources).unwrap().warnings;
    assert_eq!(
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "option `max-in-flight-requests-per-connection` (from Keycloak's configuration) is overruled: what the reference \
          stands for is out of range, and the nearest legal value is used"
        ]
    );
}

#[test]
fn a_client_certificate_is_given_in_one_way_and_whole() {
    let identity = |options: Options<'_>| {
        let mut all = vec![("security-protocol", "SSL")];
        all.extend(options);
        outcome(&needed(&all))
    };
    let files = identity(&[
        ("ssl-certificate-location", "/c.pem"),
        ("ssl-key-location", "/k.pem"),
        ("ssl-key-password", "kp"),
    ])
    .unwrap();
    assert_eq!(files["ssl.certificate.location"], "/c.pem");
    assert_eq!(files["ssl.key.location"], "/k.pem");
    assert_eq!(files["ssl.key.password"], "kp");
    let (chain, key) = ("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----");
    let texts = identity(&[("ssl-keystore-certificate-chain", chain), ("ssl-keystore-key", key)]).unwrap();
    assert_eq!((texts["ssl.certificate.pem"].as_str(), texts["ssl.key.pem"].as_str()), (chain, key));
    for (options, missing) in [
        ([("ssl-certificate-location", "/c.pem")], "missing ssl-key-location"),
        ([("ssl-key-location", "/k.pem")], "missing ssl-certificate-location"),
        ([("ssl-keystore-certificate-chain", chain)], "missing ssl-keystore-key"),
        ([("ssl-keystore-location", "/nowhere/k.p12")], "missing ssl-keystore-password"),
    ] {
        assert_eq!(identity(&options), Err(missing.to_owned()));
    }
    let twice =
        identity(&[("ssl-keystore-location", "/k.p12"), ("ssl-certificate-location", "/c.pem")]).unwrap_err();
    assert!(
        twice.starts_with(
            "option `ssl-keystore-location` (from Keycloak's configuration): the client's certificate is \
        given in more than one way"
        ),
        "{twice}"
    );
}

#[test]
fn openssls_own_variable_names_the_systems_authorities() {
    let sources =
        needed(&[("security-protocol", "SSL")]).with_environment([("SSL_CERT_FILE", "/etc/ca.pem")]);
    assert_eq!(outcome(&sources).unwrap()["ssl.ca.location"], "/etc/ca.pem");
}

/// Everything that a configuration, its warnings and its errors can show of themselves.
fn everything_shown(sources: &Sources) -> String {
    match load(sources) {
        Ok(loaded) => {
            let json = serde_json::to_string(&loaded.config).unwrap_or_else(|error| panic!("{error}"));
            let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
            let properties = match only(loaded.config.clone()) {
                Readiness::Complete(destination) => format!("{:?}", librdkafka::properties(&destination)),
                other => format!("{other:?}"),
            };
            format!("{loaded:?} {json} {warnings:?} {properties}")
        }
        Err(errors) => format!("{errors} {errors:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_is_ever_shown(random in "[A-Za-z0-9!#%&/()=?+*;:.,'\"\\\\ -]{0,24}", broken in any::<bool>()) {
        // The marker makes the secret unlike anything else that is shown; pieces of it must not appear either.
        let secret = format!("zQ9x{random}Kv7w");
        let quoted = secret.replace('\\', "\\\\").replace('"', "\\\"");
        let end = if broken { "" } else { ";" };
        let jaas = format!("PlainLoginModule required username=\"u\" password=\"{quoted}\"{end}");
        let oauth = format!("OAuthBearerLoginModule required clientId=\"u\" clientSecret=\"{quoted}\"{end}");
        let toml = format!("[destination.security.sasl]\npassword = \"{quoted}\"\nusername = \"u\"\n");
        let broken_toml = format!("[destination.security.sasl]\npassword = {secret}\n");
        let sasl: Options<'_> = &[("security-protocol", "SASL_SSL"), ("sasl-mechanism", "PLAIN")];
        let sources = [
            needed(&[SASL_PLAIN_TEXT, ("sasl-mechanism", "PLAIN"), ("sasl-jaas-config", &jaas)]),
            needed(&[SASL_PLAIN_TEXT, ("sasl-jaas-config", &oauth), ("sasl-oauthbearer-token-endpoint-url", "http://i")]),
            needed(&[SASL_PLAIN_TEXT, ("sasl-mechanism", &jaas)]),
            needed(&[("security-protocol", "SSL"), ("ssl-keystore-location", "/x.p12"), ("ssl-keystore-password", &secret)]),
            needed(&[("security-protocol", "SSL"), ("ssl-keystore-key", &secret)]),
            needed(&[("security-protocol", "SSL"), ("ssl-key-password", &secret), ("ssl-key-location", "/k"),
                ("ssl-certificate-location", "/c")]),
            needed(&[("ssl-truststore-password", &secret), ("ssl-keystore-password", &secret)]),
            needed(&[("bootstrap-servers", &format!("SASL_SSL://u:{secret}@kafka:9092"))]),
            needed(&[("librdkafka-sasl-password", &secret), ("librdkafka-sasl-oauthbearer-config", &secret)]),
            needed(&[("librdkafka-sasl-oauthbearer-config", &secret)]),
            needed(&[("sasl-pasword", &secret)]),
            needed(sasl).with_file_text(Path::new("k.toml"), toml),
            needed(sasl).with_file_text(Path::new("k.toml"), broken_toml),
        ];
        for sources in sources {
            let shown = everything_shown(&sources);
            prop_assert!(!shown.contains("zQ9x") && !shown.contains("Kv7w"), "{shown}");
        }
    }
}
