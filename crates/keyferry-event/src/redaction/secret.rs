//! What a secret looks like: its name, or its own shape.
//!
//! The invariant: **[`Suspicion`] is raised by every JSON text in which [`is_secret_name`] or [`in_shape`] would find something.** So one search over the bytes of an event decides whether it
//! has to be taken apart at all, and most never are.
//!
//! Why none is missed, in however many strings it stands: behind a name stand a quote, escaped or not, and a colon; what a shape is known by is a row of letters and digits. Only an escape `\u00..` can
//! stand for one of all these, and it raises every suspicion itself. So each colon is looked at before which a name may end, each letter of two of which every such row has one, and each such escape: [`marks`] finds them.
//!
//! Names are compared by what they end with, because Keycloak, its providers and its realms' own attributes put words before it: `clientSecret`, `smtp.password`, `saml.signing.private.key`. Of the
//! names that Keycloak 26.7 gives to secrets none is missing: `tests::the_names_that_keycloak_gives_to_secrets`. Where a name alone says too little (`value`), its object
//! must say that it is a credential: [`is_type_of_credential`].

use std::ops::Range;

use super::marks::{self, Endings};

/// The ends of the names of secrets that have these last two letters, in small letters and without `_`, `-` and `.`.
const fn endings(last: [u8; 2]) -> &'static [&'static str] {
    match &last {
        b"al" => &["bindcredential"],
        b"ed" => &["secretrotated"],
        b"en" => &["accesstoken", "refreshtoken", "idtoken", "offlinetoken", "bearertoken", "authtoken"],
        b"et" => &["secret"],
        b"ey" => &["privatekey", "secretkey", "accesskey", "apikey", "sharedkey"],
        b"on" => &["clientassertion"],
        b"rd" => &["password"],
        b"se" => &["passphrase"],
        b"ta" => &["secretdata", "credentialdata"],
        b"ue" => &["hashedsaltedvalue"],
        b"wd" => &["passwd"],
        _ => &[],
    }
}

/// A name that is so as a whole and has these last two letters, written likewise.
const fn name(last: [u8; 2]) -> Option<&'static str> {
    match &last {
        b"en" => Some("token"),
        b"lt" => Some("salt"),
        b"on" => Some("assertion"),
        _ => None,
    }
}

/// Ends like one of the names above and is none: a detail of Keycloak's, in seconds.
const AGE: &str = "ageofrefreshtoken";

/// A longer name is none of those.
const LONGEST_NAME: usize = 96;

/// The last three letters of all those names, and of [`VALUE`].
const ENDS: [[u8; 3]; 25] = {
    let mut ends = [[0; 3]; 25];
    let mut known = 0;
    let (mut second_last, mut last) = (b'a', b'a');
    while last <= b'z' {
        while second_last <= b'z' {
            let mut rest = endings([second_last, last]);
            while let [ending, others @ ..] = rest {
                ends[known] = last_letters(ending.as_bytes());
                (known, rest) = (known + 1, others);
            }
            if let Some(name) = name([second_last, last]) {
                ends[known] = last_letters(name.as_bytes());
                known += 1;
            }
            second_last += 1;
        }
        (second_last, last) = (b'a', last + 1);
    }
    ends[known] = last_letters(VALUE);
    assert!(known + 1 == ends.len(), "there are more names or fewer");
    ends
};

const fn last_letters(name: &[u8]) -> [u8; 3] {
    let Some(last) = name.last_chunk() else { panic!("a name has three letters at least") };
    *last
}

/// By those, [`marks`] tells most names apart.
pub(super) static ENDINGS: Endings = Endings::of(&ENDS);

/// By those, other names are told apart here: for a last letter, which letters may be before it, and which before these. A letter is a bit, by its place in the alphabet; before two letters may be a separator too.
/// By [`ENDINGS`] alone, which take some letters for others, an admin event with a secret took 7 % longer.
static BEFORE_LAST: [[u32; 2]; 32] = {
    let mut before = [[0; 2]; 32];
    let mut rest = ENDS.as_slice();
    while let [[third_last, second_last, last], others @ ..] = rest {
        let [second, third] = &mut before[(*last & 31) as usize];
        *second |= bit(*second_last);
        *third |= bit(*third_last) | bit(b'_') | bit(b'-') | bit(b'.') | bit(b' ');
        rest = others;
    }
    before
};

const fn bit(letter: u8) -> u32 {
    1 << (letter & 31)
}

/// Whether one of those names may end with these three: few others do, and most are told apart here.
#[inline]
fn may_end_secret([third_last, second_last, last]: [u8; 3]) -> bool {
    let [second, third] = BEFORE_LAST[usize::from(last & 31)];
    second & bit(second_last) != 0 && third & bit(third_last) != 0 || is_separator(last)
}

/// Whether a field of this name holds a secret.
#[inline]
pub(super) fn is_secret_name(name: &[u8]) -> bool {
    let Some(last) = name.last_chunk() else { return false };
    may_end_secret(*last) && name.len() <= LONGEST_NAME && is_secret_ending(name)
}

fn is_secret_ending(name: &[u8]) -> bool {
    ends_like_secret(name, <[u8]>::is_empty) && !before(name, AGE).is_some_and(<[u8]>::is_empty)
}

/// Whether `text` ends with the name of a secret. `is_start` hears what stands before one that must be there as a whole.
fn ends_like_secret(text: &[u8], is_start: impl Fn(&[u8]) -> bool) -> bool {
    let Some(last) = without_separators(text).last_chunk::<2>() else { return false };
    let last = last.map(|letter| letter.to_ascii_lowercase());
    endings(last).iter().any(|ending| before(text, ending).is_some())
        || name(last).is_some_and(|name| before(text, name).is_some_and(is_start))
}

/// What stands before `letters` and the separators in front of them, if `text` ends with these: capitals and separators do not count.
fn before<'a>(text: &'a [u8], letters: &str) -> Option<&'a [u8]> {
    let mut rest = without_separators(text);
    for letter in letters.bytes().rev() {
        let (last, others) = rest.split_last()?;
        if last.to_ascii_lowercase() != letter {
            return None;
        }
        rest = without_separators(others);
    }
    Some(rest)
}

fn without_separators(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_separator(*last)
    {
        text = rest;
    }
    text
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'_' | b'-' | b'.' | b' ')
}

/// The field of a credential that is a secret, whatever else its name may mean elsewhere.
pub(super) const VALUE: &[u8] = b"value";

/// The types of credentials.
const CREDENTIALS: [&str; 8] =
    ["password", "password-history", "secret", "otp", "totp", "hotp", "recovery-authn-codes", "kerberos"];

/// Whether an object with this `type` is a credential, whose `value` is a secret.
pub(super) fn is_type_of_credential(name: &[u8]) -> bool {
    CREDENTIALS.iter().any(|known| known.as_bytes() == name)
}

/// The names and shapes of secrets as the provider reads them, which masks what it journals where it is asked to.
pub(crate) fn names() -> String {
    let letters = || b'a'..=b'z';
    let pairs = || letters().flat_map(|second| letters().map(move |last| [second, last]));
    let line = |kind: &'static str| move |name: &&str| format!("{kind}\t{name}\n");
    let endings = pairs().flat_map(endings).map(line("ending"));
    let names: Vec<_> = pairs().filter_map(name).collect();
    let lines = endings.chain(names.iter().map(line("name")));
    let lines = lines
        .chain([&AGE].into_iter().map(line("harmless")))
        .chain(CREDENTIALS.iter().map(line("credential")));
    let of_shape =
        |(at, begin): &(usize, &'static [u8])| format!("der\t{at} {}\n", String::from_utf8_lossy(begin));
    "# Generated: the names of secrets, in small letters and without `_`, `-`, `.` and blanks, and the marks of private keys.\n".to_owned()
        + &lines.collect::<String>()
        + &format!("pem\t{}\n", String::from_utf8_lossy(PEM))
        + &DER.iter().map(of_shape).collect::<String>()
}

/// Whether the content of a string tells nothing although its field's name is that of a secret: it is empty, a truth value, masked already (Keycloak writes `**********` itself), or the
/// name of an entry of a vault.
pub(super) fn is_harmless(content: &[u8]) -> bool {
    content.iter().all(|byte| *byte == b'*')
        || content == b"true"
        || content == b"false"
        || content.starts_with(b"${vault.")
}

/// How a private key begins in PEM, after `-----BEGIN ` and the algorithm.
const PEM: &[u8] = b"PRIVATE KEY-----";

/// How private keys begin that are DER in Base64 without a word of what they are: PKCS#8 of RSA ([RFC 5958](https://www.rfc-editor.org/rfc/rfc5958)), PKCS#1
/// ([RFC 8017](https://www.rfc-editor.org/rfc/rfc8017)), PKCS#8 of P-256, P-384 and Ed25519, SEC 1 of P-256. The number is where, after the length, which differs.
const DER: [(usize, &[u8]); 7] = [
    (6, b"IBADANBgkqhkiG9w0BAQ"),
    (6, b"IBAAKC"),
    (0, b"MIGHAgEAMBMGByqGSM49"),
    (0, b"MIG2AgEAMBAGByqGSM49"),
    (0, b"MC4CAQAwBQYDK2Vw"),
    (0, b"MHcCAQEEI"),
    (0, b"MIGkAgEBBD"),
];

/// What of the content of a string is a secret by its own shape: a private key is as a whole, a JSON Web Token where it stands.
pub(super) fn in_shape(content: &[u8]) -> Option<Range<usize>> {
    let is_key = memchr::memmem::find(content, PEM).is_some()
        || DER.iter().any(|(at, begin)| content.get(*at..).is_some_and(|rest| rest.starts_with(begin)));
    if is_key { Some(0..content.len()) } else { token(content) }
}

/// The first JSON Web Token in `text`: two parts and a third, in Base64url and separated by dots, of which the first two are JSON objects
/// ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)). In an encrypted one, of five parts, the second is a key.
fn token(text: &[u8]) -> Option<Range<usize>> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&text[from..], TOKEN) {
        let begin = from + found;
        // Before the token may stand an escape, whose last letter is no part of it: a line break, or `\u003e`.
        let is_beginning = match &text[..begin] {
            [.., b'\\', _] | [.., b'\\', b'u', _, _, _, _] | [] => true,
            [.., last] => !is_part(last),
        };
        let length = text[begin..].iter().take_while(|byte| is_part(byte) || **byte == b'.').count();
        let parts = || text[begin..begin + length].split(|byte| *byte == b'.');
        if is_beginning && parts().count() >= 3 && parts().take(2).all(|part| part.len() >= SHORTEST_PART) {
            return Some(begin..begin + length);
        }
        from = begin + TOKEN.len();
    }
    None
}

/// `{"` in Base64url.
const TOKEN: &[u8] = b"eyJ";
/// `{"a":1}` in Base64url: no object with a member is shorter by much.
const SHORTEST_PART: usize = 8;

/// What stands in every secret that has a shape, and where in it the letter that is marked.
const OF_SHAPES: [(usize, &[u8]); 9] = [
    (2, b"eyJ"),
    (4, PEM),
    (2, b"IBADANBg"),
    (2, b"IBAAKC"),
    (4, b"MIGHAgEA"),
    (4, b"MIG2AgEA"),
    (4, b"MC4CAQAw"),
    (4, b"MHcCAQEE"),
    (4, b"MIGkAgEB"),
];

/// What stands behind their `A` where that is marked: few others have one of these there.
const BEHIND_A: [u8; 5] = *b"ADTgQ";

/// How an escape goes on behind its backslash that may stand for any letter of a name or a shape.
const ESCAPE: &[u8] = b"u00";

/// The detail [`AGE`] as Keycloak writes it into every renewal of a token, behind the quote before it.
const AGE_IN_EVENTS: &[u8] = b"\"age_of_refresh_token";

/// What is suspected of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Suspicion {
    /// It holds the name of a secret.
    pub(super) of_name: bool,
    /// It holds what may be a secret by its shape.
    pub(super) of_shape: bool,
}

impl Suspicion {
    /// What is suspected of the JSON `text`, whatever it is escaped in.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut suspicion = Self::default();
        marks::show(text, |place| match text[place] {
            b':' => suspicion.of_name = suspicion.of_name || ends_name_of_secret(&text[..place]),
            _ => suspicion.add(Self::at_sign(text, place)),
        });
        suspicion
    }

    /// What is suspected for the letter at `place`, which is marked.
    fn at_sign(text: &[u8], place: usize) -> Self {
        let (before, from) = text.split_at(place);
        if let [b'A', next, ..] = from
            && !BEHIND_A.contains(next)
        {
            return Self::default();
        }
        // Only behind a backslash `u` is marked.
        if from.starts_with(ESCAPE) {
            return Self { of_name: true, of_shape: true };
        }
        let stands_here =
            |(mark, row): &(usize, &[u8])| before.ends_with(&row[..*mark]) && from.starts_with(&row[*mark..]);
        Self { of_name: false, of_shape: OF_SHAPES.iter().any(stands_here) }
    }

    fn add(&mut self, other: Self) {
        self.of_name |= other.of_name;
        self.of_shape |= other.of_shape;
    }

    /// Whether nothing is suspected.
    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Whether `text`, which holds no [`ESCAPE`] and stands before a colon, ends with the name of a secret or [`VALUE`] between quotes, however often they are escaped.
#[inline]
fn ends_name_of_secret(text: &[u8]) -> bool {
    // Nearly every name is told apart here.
    match *text {
        [.., third_last, second_last, last, b'"'] | [.., third_last, second_last, last, b'\\', b'"']
            if last != b'\\' =>
        {
            may_end_secret([third_last, second_last, last]) && is_name_of_secret(text)
        }
        [.., before, b't' | b'n' | b'r'] if before != b'\\' => false,
        _ => is_name_before_blanks(text),
    }
}

/// Whether that may be part of a blank. One may be escaped, as `\n`; where none can be, no letter stands either.
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\\' | b't' | b'n' | b'r')
}

#[cold]
fn is_name_before_blanks(mut text: &[u8]) -> bool {
    while let [rest @ .., last] = text
        && is_blank(last)
    {
        text = rest;
    }
    is_name_of_secret(text)
}

/// Whether `text` ends with such a name between quotes.
fn is_name_of_secret(text: &[u8]) -> bool {
    let Some(mut text) = text.strip_suffix(b"\"") else { return false };
    while let [rest @ .., b'\\'] = text {
        text = rest;
    }
    let is_start = |before: &[u8]| before.ends_with(b"\"");
    let is_age =
        without_separators(text).strip_suffix(AGE_IN_EVENTS).is_some_and(|before| !before.ends_with(b"\\"));
    !is_age && (ends_like_secret(text, is_start) || text.strip_suffix(VALUE).is_some_and(is_start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_that_keycloak_gives_to_secrets() {
        let names = [
            "secret",
            "clientSecret",
            "client.secret.rotated",
            "registrationAccessToken",
            "password",
            "bindCredential",
            "keystorePassword",
            "keyPassword",
            "storePassword",
            "privateKey",
            "saml.signing.private.key",
            "saml.encryption.private.key",
            "secretData",
            "credentialData",
            "hashedSaltedValue",
            "salt",
            "token",
            "codeSecret",
            "authTokenClientSecret",
            "access_token",
            "refresh_token",
            "id_token",
            "CLIENT_SECRET",
            "api-key",
        ];
        for name in names {
            assert!(is_secret_name(name.as_bytes()), "{name}");
            for text in [format!("{{\"{name}\":1}}"), format!("{{\\\\\\\"{name}\\\\\\\" : 1}}")] {
                assert!(Suspicion::of(text.as_bytes()).of_name, "{text}");
            }
        }
        let others = [
            "passwordPolicy",
            "resetPasswordAllowed",
            "accessTokenLifespan",
            "client.secret.creation.time",
            "token_id",
            "use.refresh.tokens",
            "access.token.claim",
            "refresh_token_type",
            "credential_type",
            "secretQuestion",
            "type",
        ];
        assert!(Suspicion::of(br#"{"representation":"{\"type\":\"secret\",\"value\":\"x\"}"}"#).of_name);
        for name in others {
            assert!(!is_secret_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_login_raises_no_suspicion_although_it_speaks_of_passwords_and_tokens() {
        let login = br#"{"type":"REFRESH_TOKEN","details":{"credential_type":"password","token_id":"onrtro:4","grant_type":"refresh_token","client_auth_method":"client-secret","refresh_token_id":"1","age_of_refresh_token":"2"}}"#;
        assert!(Suspicion::of(login).is_none());
        assert!(
            Suspicion::of(br#"{"of the \"age_of_refresh_token":"x"}"#).of_name,
            "the name goes on before the quote"
        );
    }

    /// `org.keycloak.events.Details` of Keycloak 26.7. `validate_access_token` is a truth value, and passes as such.
    #[test]
    fn none_of_the_details_of_keycloak_is_taken_for_a_secret() {
        let details = "\
            previous_ updated_ fields_to_update custom_required_action context email action code_id redirect_uri \
            response_type response_mode grant_type auth_type auth_method identity_provider identity_provider_issuer \
            identity_provider_identity identity_provider_user_id identity_provider_broker_session_id register_method \
            username first_name last_name remember_me token_id token_type token_issued_for org_id refresh_token_id \
            refresh_token_type refresh_token_sub client_assertion_id client_assertion_sub client_assertion_issuer \
            client_jwt_kid validate_access_token updated_refresh_token_id node_host reason granted_client revoked_client \
            token_exchange_revoked_clients audience permission scope requested_issuer requested_subject \
            requested_token_type subject_token_client_id restart_after_timeout redirected_to_client login_retry consent \
            no_consent_required consent_granted persistent_consent impersonator_realm impersonator client_auth_method \
            signature_required signature_algorithm client_registration_policy previous_user x509_cert_serial_number \
            x509_cert_subject_distinguished_name x509_cert_issuer_distinguished_name credential_type \
            selected_credential_id credential_id authentication_error_detail credential_user_label not_before num_failures \
            logout_triggered_by_action_token logout_triggered_by_required_action access_token_expiration_time \
            age_of_refresh_token client_policy_error client_policy_error_detail user_session_expired \
            invalid_user_session_remember_me verifiable_credential_pre_authorized verifiable_credential_target_client_id \
            verifiable_credential_target_user_id verifiable_credential_format verifiable_credentials_issued";
        let taken: Vec<_> =
            details.split_whitespace().filter(|name| is_secret_name(name.as_bytes())).collect();
        assert_eq!(taken, ["validate_access_token"]);
    }

    #[test]
    fn private_keys_and_tokens_are_known_by_their_shape() {
        let whole = |text: &str| assert_eq!(in_shape(text.as_bytes()), Some(0..text.len()), "{text}");
        whole("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA");
        whole("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC");
        whole("MIIEpAIBAAKCAQEAwVtn");
        whole("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg");
        whole("MC4CAQAwBQYDK2VwBCIEIH");
        whole("MIGkAgEBBDDrM3zGZ5Zs");
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        whole(jwt);
        assert_eq!(in_shape(format!("Bearer {jwt}, and").as_bytes()), Some(7..7 + jwt.len()));
        assert_eq!(in_shape(format!("a\\n{jwt}").as_bytes()), Some(3..3 + jwt.len()), "behind an escape");
        let behind_sign = format!("a\\u003e{jwt}");
        assert_eq!(in_shape(behind_sign.as_bytes()), Some(7..7 + jwt.len()), "behind an escape of a sign");
        assert_eq!(in_shape(format!("an{jwt}").as_bytes()), None);
        for other in [
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA",
            "MIICmzCCAYMCBgGV",
            "eyJhbGciOiJIUzI1NiJ9",
            "e.y.J",
            "eyJ.eyJ.x",
        ] {
            assert_eq!(in_shape(other.as_bytes()), None, "{other}");
        }
    }

    /// Every name of a secret, and every ending of one.
    fn all_names() -> Vec<&'static str> {
        let letters = || b'a'..=b'z';
        let pairs = || letters().flat_map(|a| letters().map(move |b| [a, b]));
        pairs().flat_map(endings).copied().chain(pairs().filter_map(name)).collect()
    }

    #[test]
    fn no_name_of_a_secret_is_told_apart_by_its_last_letters() {
        for name in all_names() {
            assert!(is_secret_name(name.as_bytes()), "{name}");
            assert!(is_secret_name(name.to_ascii_uppercase().as_bytes()), "{name}");
            assert!(is_secret_name(format!("{name}_").as_bytes()), "{name}");
            let (before, last) = name.split_at(name.len() - 2);
            assert!(is_secret_name(format!("{before}-{last}").as_bytes()), "{name}");
        }
        assert!(VALUE.last_chunk().is_some_and(|last| may_end_secret(*last)));
    }

    #[test]
    fn every_shape_has_a_sign() {
        for begin in DER.map(|(_, begin)| begin).into_iter().chain([PEM, TOKEN]) {
            let stands_in = |(_, row): &(usize, &[u8])| memchr::memmem::find(begin, row).is_some();
            assert!(OF_SHAPES.iter().any(stands_in), "{}", String::from_utf8_lossy(begin));
        }
        for (mark, row) in OF_SHAPES {
            let is_marked = row[mark] == b'J' || row[mark] == b'A' && BEHIND_A.contains(&row[mark + 1]);
            assert!(is_marked, "{}", String::from_utf8_lossy(row));
        }
    }

    /// The same by another way: colon by colon.
    fn names_a_secret(text: &[u8]) -> bool {
        let ends_name_of_secret = |text: &[u8]| {
            let Some((b'"', name)) = text.trim_ascii_end().split_last() else { return false };
            let Some(end) = name.iter().rposition(|byte| *byte != b'\\') else { return false };
            let name = &name[..=end];
            let begin = name.iter().rposition(|byte| *byte == b'"').map_or(name.len(), |quote| quote + 1);
            is_secret_name(&name[begin..]) || &name[begin..] == VALUE
        };
        memchr::memchr_iter(b':', text).any(|colon| ends_name_of_secret(&text[..colon]))
    }

    /// `text` in so many strings, each in a list.
    fn in_strings(text: String, strings: usize) -> String {
        (0..strings).fold(text, |text, _| serde_json::json!([text]).to_string())
    }

    /// The JSON string of `name`, where the letter at `escaped` is written as an escape.
    fn with_escape(name: &str, escaped: Option<prop::sample::Index>) -> String {
        let letters: Vec<_> =
            name.char_indices().filter(|(_, letter)| letter.is_ascii_alphabetic()).collect();
        let (Some(escaped), false) = (escaped, letters.is_empty()) else {
            return serde_json::to_string(name).unwrap();
        };
        let (at, letter) = letters[escaped.index(letters.len())];
        let [before, after] = [&name[..at], &name[at + 1..]].map(|part| serde_json::to_string(part).unwrap());
        format!("{}\\u{:04x}{}", &before[..before.len() - 1], letter as u32, &after[1..])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The invariant of the module, as far as names go: however a name is put together, spelt and written, in however many strings it stands, and whatever stands around it.
        #[test]
        fn whatever_would_be_found_is_suspected(
            prefix in "[a-zA-Z._\\n\"\\\\-]{0,100}", ending in prop::sample::select(all_names()), capitals: u32,
            separators: u32, escaped: Option<prop::sample::Index>, end in "[_.-]{0,2}", blanks in "[ \n\t\r]{0,2}", around: (String, String), strings in 0..4_usize,
        ) {
            let spelt = match capitals % 5 {
                0 => ending.to_owned(),
                1 => ending.to_ascii_uppercase(),
                2 => words(ending).join(["_", "-", "."][separators as usize % 3]),
                3 => words(ending).iter().map(|word| capitalised(word)).collect(),
                _ => ending.char_indices().map(|(at, letter)| if capitals >> (at % 32) & 1 == 1 { letter.to_ascii_uppercase() } else { letter }).collect(),
            };
            let name = format!("{prefix}{spelt}{end}");
            prop_assume!(is_secret_name(name.as_bytes()));
            let [before, after] = [around.0, around.1].map(|text| serde_json::to_string(&text).unwrap());
            let text = format!("{{{before}:1,{}{blanks}:\"x\",\"a\":{after}}}", with_escape(&name, escaped));
            let text = in_strings(text, strings);
            prop_assert!(Suspicion::of(text.as_bytes()).of_name, "{}", text);
        }

        /// The same for shapes.
        #[test]
        fn whatever_has_a_shape_is_suspected(kind in 0..DER.len() + 2, around: (String, String), strings in 0..4_usize) {
            let text = match DER.get(kind) {
                Some((before, begin)) => "MIIEvQ"[..*before].to_owned() + std::str::from_utf8(begin).unwrap() + &around.1,
                None if kind == DER.len() => format!("{}-----BEGIN EC PRIVATE KEY-----{}", around.0, around.1),
                None => format!("{} eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", around.0),
            };
            prop_assert!(in_shape(text.as_bytes()).is_some());
            let text = in_strings(serde_json::json!({ "a": around.0, "b": text }).to_string(), strings);
            prop_assert!(Suspicion::of(text.as_bytes()).of_shape, "{}", text);
        }

        /// It finds what a search colon by colon finds, and, where nothing is escaped, no more.
        #[test]
        fn names_are_told_apart_as_colon_by_colon(parts in prop::collection::vec(prop::sample::select(PARTS), 0..12)) {
            let text = format!("\"{}", parts.concat());
            let (found, expected) = (Suspicion::of(text.as_bytes()).of_name, names_a_secret(text.as_bytes()));
            prop_assert!(found || !expected, "{}", text);
            if !text.contains('\\') && text.len() <= LONGEST_NAME {
                prop_assert_eq!(found, expected, "{}", text);
            }
        }
    }

    /// Parts of texts with names of secrets.
    const PARTS: &[&str] = &[
        "\"",
        "\":",
        "\"",
        "\":",
        "\\\"",
        "\\\":",
        "\\",
        ":",
        " ",
        "\n",
        ",",
        "x",
        "é",
        "secret",
        "SECRET",
        "clientSecret",
        "client_secret",
        "se.cret",
        "secret_",
        "enabled",
        "token",
        "\"token",
        "\"salt",
        "to.ken",
        "id_token",
        "apiKey",
        "value",
        "\"value",
        "\"age_of_refresh_token",
        "1-age_of_refresh_token",
        "eyJ",
        "\"type\":\"password\",",
    ];

    /// The words of an ending.
    fn words(ending: &str) -> Vec<&str> {
        let second = ["key", "token", "credential", "data", "rotated", "value", "assertion"];
        let split = second.iter().find_map(|word| {
            ending.strip_suffix(word).filter(|first| !first.is_empty()).map(|first| vec![first, word])
        });
        split.unwrap_or_else(|| vec![ending])
    }

    fn capitalised(word: &str) -> String {
        word[..1].to_ascii_uppercase() + &word[1..]
    }
}
