//! Why a broker's certificate was refused, in OpenSSL's words.
//!
//! librdkafka tells only that the verification failed, whatever the reason. Here it is asked to call back with each certificate that OpenSSL has checked, and
//! given OpenSSL's verdict back with its name, which it then writes into its log. **The verdict itself is never changed**: what OpenSSL refuses stays
//! refused.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};

use openssl::x509::X509VerifyResult;
use rdkafka::bindings as sys;
use rdkafka::config::NativeClientConfig;

/// The facility of the log lines that name the reason.
pub(crate) const FACILITY: &str = "SSLCERTVRFY";

/// Lets a client with this configuration name the reason.
pub(crate) fn name_reasons(config: &NativeClientConfig) {
    // SAFETY: the configuration object is live, and the callback is a function of the program's.
    unsafe { sys::rd_kafka_conf_set_ssl_cert_verify_cb(config.ptr(), Some(verified)) };
}

/// # Safety
/// Called by librdkafka: `verdict` points to the verdict, and `text` to `size` bytes for a C string.
unsafe extern "C" fn verified(
    _client: *mut sys::rd_kafka_t,
    _broker: *const c_char,
    _broker_id: i32,
    verdict: *mut c_int,
    _depth: c_int,
    _certificate: *const c_char,
    _certificate_size: usize,
    text: *mut c_char,
    size: usize,
    _opaque: *mut c_void,
) -> c_int {
    // SAFETY: by the caller's promise. Any number is a legal verdict.
    unsafe {
        let verdict = X509VerifyResult::from_raw(*verdict);
        if verdict == X509VerifyResult::OK {
            return 1;
        }
        let reason = verdict.error_string().as_bytes();
        let length = reason.len().min(size.saturating_sub(1));
        std::ptr::copy_nonoverlapping(reason.as_ptr().cast(), text, length);
        if size > 0 {
            *text.add(length) = 0;
        }
    }
    0
}
