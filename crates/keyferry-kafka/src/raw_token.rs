//! Tokens that the agent makes itself, handed to librdkafka whenever it asks for one.
//!
//! The invariant: **a token is renewed although nothing flows**: librdkafka asks on a thread of its own, not when its queue is polled. The thread waits for whoever
//! lends the credentials, and nobody else does.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::time::SystemTime;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, NativeClientConfig};
use rdkafka::error::{KafkaError, KafkaResult};

use crate::security::msk::credentials::OfProcess;
use crate::security::msk::{Login, PROPERTY, Token};

/// Whom the client calls itself, to nobody but itself.
pub(crate) const PRINCIPAL: &CStr = c"keyferry";

/// Whether a client with this configuration logs in by tokens that are made here.
pub(crate) fn are_needed(config: &ClientConfig) -> bool {
    config.get(PROPERTY).and_then(Login::of).is_some()
}

/// Lets a client with this configuration ask here for its tokens. Returns the events by which it gets the thread that does so.
pub(crate) fn lend_to(config: &NativeClientConfig) -> i32 {
    // SAFETY: the configuration object is live, and the callback is a function of the program's.
    unsafe {
        sys::rd_kafka_conf_enable_sasl_queue(config.ptr(), 1);
        sys::rd_kafka_conf_set_oauthbearer_token_refresh_cb(config.ptr(), Some(refresh));
    }
    sys::RD_KAFKA_EVENT_BACKGROUND
}

/// Lets the client's own thread ask.
///
/// # Errors
/// It has no such thread.
pub(crate) fn serve_in_background<C: ClientContext>(client: &Client<C>) -> KafkaResult<()> {
    // SAFETY: the client is live; an error that is not null is ours to destroy.
    unsafe {
        let error = sys::rd_kafka_sasl_background_callbacks_enable(client.native_ptr());
        if error.is_null() {
            return Ok(());
        }
        let reason = CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        sys::rd_kafka_error_destroy(error);
        Err(KafkaError::ClientCreation(reason))
    }
}

/// Gives the client its first token now, if it needs one, for whoever asks the cluster before polling.
///
/// # Errors
/// In words, why there is none.
pub(crate) fn give<C: ClientContext>(client: &Client<C>, config: &ClientConfig) -> Result<(), String> {
    let Some(login) = config.get(PROPERTY).and_then(Login::of) else { return Ok(()) };
    let token = make(&login)?;
    // SAFETY: the client is live.
    unsafe { set(client.native_ptr(), &token) }
}

/// # Safety
/// Called by librdkafka: `property` is null or a C string.
unsafe extern "C" fn refresh(client: *mut sys::rd_kafka_t, property: *const c_char, _opaque: *mut c_void) {
    // SAFETY: by the caller's promise, and the client is live while it calls.
    unsafe {
        let property = if property.is_null() { c"" } else { CStr::from_ptr(property) };
        if let Err(reason) = token(&property.to_string_lossy()).and_then(|token| set(client, &token)) {
            // What a null byte would cut off is not worth a token.
            let reason = CString::new(reason.replace('\0', " ")).unwrap_or_default();
            sys::rd_kafka_oauthbearer_set_token_failure(client, reason.as_ptr());
        }
    }
}

/// The token for what [`PROPERTY`] says.
///
/// # Errors
/// In words, why there is none.
pub(crate) fn token(property: &str) -> Result<Token, String> {
    make(&Login::of(property).ok_or("the login is not understood")?)
}

fn make(login: &Login) -> Result<Token, String> {
    login.token(&OfProcess, SystemTime::now()).map_err(|error| error.to_string())
}

/// # Safety
/// The client is live.
unsafe fn set(client: *mut sys::rd_kafka_t, token: &Token) -> Result<(), String> {
    let text = CString::new(token.expose()).map_err(|_| "the token holds a null byte")?;
    let mut reason = [0; 256];
    // SAFETY: by the caller's promise; librdkafka copies the texts, and `reason` is as long as is said.
    unsafe {
        let code = sys::rd_kafka_oauthbearer_set_token(
            client,
            text.as_ptr(),
            token.expires_ms(),
            PRINCIPAL.as_ptr(),
            std::ptr::null_mut(),
            0,
            reason.as_mut_ptr(),
            reason.len(),
        );
        if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        Err(CStr::from_ptr(reason.as_ptr()).to_string_lossy().into_owned())
    }
}
