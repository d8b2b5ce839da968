//! The few calls of librdkafka that the `rdkafka` crate does not offer as we need them.
//!
//! Why not `BaseProducer`: its `send` makes a C string and looks the topic up by name for each message, its headers are built by two allocations for
//! each message, and its `poll` takes one event at a time and boxes it. Here a message is one call with a topic handle and borrowed headers, an
//! event is drained in place, and the delivery reports carry our token as the opaque pointer itself, so that nothing is boxed.
//!
//! This and the other modules `raw_…` are the only ones of the project with `unsafe` code. Its soundness rests on three facts of librdkafka's documentation: a client may be used from any
//! thread; `RD_KAFKA_MSG_F_COPY` copies the payload before `rd_kafka_produceva` returns (key and headers are always copied); an event's
//! messages live until the event is destroyed.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use keyferry_event::headers::MAX_HEADERS;
use keyferry_event::{Failure, Header, Record, Token};
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_vtype_t as vtype;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaType};

use crate::raw_admin::{self, Asked};
use crate::raw_token;
use crate::raw_verify;
use crate::settings::Mark;
use crate::statistics::TopicPartitions;
use crate::topics::{Answer, Request};

/// What a producer reports.
pub(crate) enum Event<'a> {
    /// The outcome of one message.
    Delivered(Token, Result<(), Undelivered<'a>>),
    /// The client is in trouble: a broker cannot be reached, a login failed, or worse.
    Trouble { code: RDKafkaErrorCode, reason: &'a CStr },
    /// A line for the log; `level` as in syslog(3).
    Log { level: i32, facility: &'a CStr, line: &'a CStr },
    /// A document of statistics, see librdkafka's `STATISTICS.md`.
    Statistics(&'a CStr),
    /// What the cluster answered to a request.
    Answer(Answer),
}

/// Why a message was not delivered.
pub(crate) struct Undelivered<'a> {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) topic: &'a CStr,
    /// What the broker said of it; empty where it said nothing beyond the code.
    pub(crate) remark: &'a CStr,
}

/// A handle on a topic of one producer.
pub(crate) struct Topic(NonNull<sys::rd_kafka_topic_t>);

/// What librdkafka does to each partition of a list.
type PartitionOrder = unsafe extern "C" fn(
    *mut sys::rd_kafka_t,
    *mut sys::rd_kafka_topic_partition_list_t,
) -> sys::rd_kafka_resp_err_t;

/// An idempotent producer.
pub(crate) struct RawProducer {
    topics: Vec<(String, Topic)>,
    queue: NonNull<sys::rd_kafka_queue_t>,
    values: Vec<sys::rd_kafka_vu_t>,
    client: Client<DefaultClientContext>,
    /// Where it says that it has something to report. Declared, and so dropped, after the client that writes to it.
    wake: Arc<OwnedFd>,
    is_muted: bool,
}

// SAFETY: librdkafka's objects may be used from any thread; `values` is a scratch area that holds no pointer between two calls.
unsafe impl Send for RawProducer {}

impl RawProducer {
    /// A producer with `config`, which writes to `wake` (an eventfd) whenever it has something to report.
    pub(crate) fn new(config: &ClientConfig, wake: Arc<OwnedFd>) -> KafkaResult<Self> {
        let native = config.create_native_config()?;
        let mut events = sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR | sys::RD_KAFKA_EVENT_STATS;
        let needs_tokens = raw_token::are_needed(config);
        if needs_tokens {
            events |= raw_token::lend_to(&native);
        }
        // SAFETY: `native` is a live configuration object.
        unsafe { sys::rd_kafka_conf_set_events(native.ptr(), events) };
        raw_verify::name_reasons(&native);
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, DefaultClientContext)?;
        if needs_tokens {
            raw_token::serve_in_background(&client)?;
        }
        // SAFETY: the client is live. The queue is reference-counted and destroyed in `drop`.
        let queue = unsafe { sys::rd_kafka_queue_get_main(client.native_ptr()) };
        let queue = NonNull::new(queue)
            .ok_or_else(|| KafkaError::ClientCreation("the producer has no main queue".to_owned()))?;
        let mut producer =
            Self { topics: Vec::new(), queue, values: Vec::with_capacity(8), client, wake, is_muted: true };
        producer.unmute();
        Ok(producer)
    }

    /// Writes to `wake` from now on when there is something to report.
    pub(crate) fn unmute(&mut self) {
        if !self.is_muted {
            return;
        }
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the queue is live, and librdkafka copies the payload. The descriptor is held open by `wake` for as long as the client lives.
        unsafe {
            sys::rd_kafka_queue_io_event_enable(
                self.queue.as_ptr(),
                self.wake.as_raw_fd(),
                one.as_ptr().cast(),
                one.len(),
            );
        }
        self.is_muted = false;
    }

    /// Leaves `wake` alone until [`RawProducer::unmute`]: what is reported meanwhile waits until it is drained.
    pub(crate) fn mute(&mut self) {
        // SAFETY: the queue is live.
        unsafe { sys::rd_kafka_queue_io_event_enable(self.queue.as_ptr(), -1, ptr::null(), 0) }
        self.is_muted = true;
    }

    /// Asks the cluster; the answer is reported when it has come, or when the request's time is over.
    ///
    /// # Errors
    /// librdkafka refuses an argument.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        let asked = Asked { client: self.client.native_ptr(), queue: self.queue.as_ptr() };
        // SAFETY: client and queue are live.
        unsafe { raw_admin::ask(asked, request) }
    }

    /// Hands over a copy of `record`, with one more header if there is a `mark`.
    pub(crate) fn produce(
        &mut self,
        token: Token,
        record: &Record<'_>,
        mark: Option<&Mark>,
    ) -> Result<(), RDKafkaErrorCode> {
        let topic = self.topic(record.topic)?;
        self.values.clear();
        let values = &mut self.values;
        values.push(value(vtype::RD_KAFKA_VTYPE_RKT, |u| u.rkt = topic));
        values.push(value(vtype::RD_KAFKA_VTYPE_MSGFLAGS, |u| u.i = sys::RD_KAFKA_MSG_F_COPY));
        values.push(value(vtype::RD_KAFKA_VTYPE_VALUE, |u| u.mem = memory(record.value)));
        values.push(value(vtype::RD_KAFKA_VTYPE_KEY, |u| u.mem = memory(record.key)));
        let timestamp = i64::try_from(record.timestamp_ms).unwrap_or(i64::MAX);
        values.push(value(vtype::RD_KAFKA_VTYPE_TIMESTAMP, |u| u.i64_ = timestamp));
        // The opaque is never followed: it is the token itself. 64-bit platforms only, see the assertion below.
        values.push(value(vtype::RD_KAFKA_VTYPE_OPAQUE, |u| {
            u.ptr = ptr::without_provenance_mut(token.0 as usize)
        }));
        let mark = mark.map(|mark| Header { name: mark.name, value: mark.value.as_bytes() });
        let headers = Headers::of(record.headers().chain(mark));
        if let Some(headers) = &headers {
            values.push(value(vtype::RD_KAFKA_VTYPE_HEADERS, |u| u.headers = headers.0.as_ptr()));
        }
        // SAFETY: every pointer in `values` is valid for the duration of the call, and librdkafka copies what they point to, but for the headers.
        let error =
            unsafe { sys::rd_kafka_produceva(self.client.native_ptr(), values.as_ptr(), values.len()) };
        if error.is_null() {
            // They are the message's now.
            std::mem::forget(headers);
            return Ok(());
        }
        // SAFETY: `error` is a live error object that is ours to destroy.
        unsafe {
            let code = sys::rd_kafka_error_code(error);
            sys::rd_kafka_error_destroy(error);
            Err(code.into())
        }
    }

    /// Passes everything that the producer has to report to `report`, without waiting.
    pub(crate) fn drain(&mut self, report: &mut dyn FnMut(Event<'_>)) {
        // SAFETY: the queue is live; a non-null event is ours until it is destroyed, after its last use.
        unsafe {
            loop {
                let event = sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0);
                if event.is_null() {
                    return;
                }
                report_event(event, report);
                sys::rd_kafka_event_destroy(event);
            }
        }
    }

    /// Whether the client has spoken to the cluster and knows no broker of it any more.
    ///
    /// A broker that comes back after a pause answers for a moment that the cluster has no brokers at all, because it has been fenced and not yet been let
    /// in again. librdkafka 2.12 believes it, takes leave of every broker it knows, those of `bootstrap.servers` included, and has nobody left to ask: it
    /// stays like that for good (its `metadata.recovery.strategy` needs a broker to begin with). A cluster without brokers has no controller, which is how it is told.
    pub(crate) fn has_lost_its_brokers(&self) -> bool {
        // SAFETY: the client is live, and without a timeout neither call waits. A cluster id that is not null is ours to free.
        unsafe {
            let cluster = sys::rd_kafka_clusterid(self.client.native_ptr(), 0);
            if cluster.is_null() {
                return false;
            }
            sys::rd_kafka_mem_free(self.client.native_ptr(), cluster.cast());
            sys::rd_kafka_controllerid(self.client.native_ptr(), 0) == -1
        }
    }

    /// Sends nothing more for now to these partitions, which must exist: librdkafka makes those that do not. What is under way stays so.
    pub(crate) fn pause(&mut self, partitions: &[TopicPartitions]) {
        self.pass(partitions, sys::rd_kafka_pause_partitions);
    }

    /// Goes on sending to these partitions.
    pub(crate) fn resume(&mut self, partitions: &[TopicPartitions]) {
        self.pass(partitions, sys::rd_kafka_resume_partitions);
        self.flush(Duration::ZERO);
    }

    fn pass(&mut self, partitions: &[TopicPartitions], order: PartitionOrder) {
        // SAFETY: the client is live. The list is ours until it is destroyed, and copies the names.
        unsafe {
            let list = sys::rd_kafka_topic_partition_list_new(0);
            for TopicPartitions { topic, numbers } in partitions {
                let Ok(topic) = CString::new(topic.as_str()) else { continue };
                for number in numbers {
                    sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), *number);
                }
            }
            // It has an error for each partition, and none as a whole.
            order(self.client.native_ptr(), list);
            sys::rd_kafka_topic_partition_list_destroy(list);
        }
    }

    /// Has the threads of the brokers look at what there is to be sent, and waits so long for all of it to be acknowledged.
    pub(crate) fn flush(&mut self, limit: Duration) {
        let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is live. That some is not acknowledged by then is no error of interest.
        unsafe { sys::rd_kafka_flush(self.client.native_ptr(), limit_ms) };
    }

    /// Drops every message that is not yet acknowledged; they are reported as purged.
    pub(crate) fn purge(&mut self) {
        let flags =
            sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: the client is live. The call cannot fail for a producer with legal flags.
        unsafe { sys::rd_kafka_purge(self.client.native_ptr(), flags) };
    }

    fn topic(&mut self, name: &str) -> Result<*mut sys::rd_kafka_topic_t, RDKafkaErrorCode> {
        if let Some((_, topic)) = self.topics.iter().find(|(known, _)| known == name) {
            return Ok(topic.0.as_ptr());
        }
        let c_name = CString::new(name).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
        // SAFETY: the client is live, the name is a C string, no configuration is passed. The handle is destroyed in `drop`.
        let handle =
            unsafe { sys::rd_kafka_topic_new(self.client.native_ptr(), c_name.as_ptr(), ptr::null_mut()) };
        let handle = NonNull::new(handle).ok_or(RDKafkaErrorCode::InvalidTopic)?;
        self.topics.push((name.to_owned(), Topic(handle)));
        Ok(handle.as_ptr())
    }
}

/// The headers of a message that is not handed over yet.
struct Headers(NonNull<sys::rd_kafka_headers_t>);

impl Headers {
    /// So many find place without moving those before: all of an encoder, and the mark.
    const COUNT: usize = MAX_HEADERS + 1;

    /// `None` if there are none.
    fn of<'a>(headers: impl Iterator<Item = Header<'a>>) -> Option<Self> {
        let mut headers = headers.peekable();
        headers.peek()?;
        // SAFETY: librdkafka copies names and values, and ends the process where there is no memory, so that what it returns is never null.
        unsafe {
            let added = Self(NonNull::new_unchecked(sys::rd_kafka_headers_new(Self::COUNT)));
            for Header { name, value } in headers {
                // Fails only for headers that must not be changed any more.
                sys::rd_kafka_header_add(
                    added.0.as_ptr(),
                    name.as_ptr(),
                    name.count_bytes().cast_signed(),
                    value.as_ptr().cast(),
                    value.len().cast_signed(),
                );
            }
            Some(added)
        }
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: no message has taken them.
        unsafe { sys::rd_kafka_headers_destroy(self.0.as_ptr()) }
    }
}

impl Drop for RawProducer {
    fn drop(&mut self) {
        self.purge();
        self.drain(&mut |_| {});
        self.mute();
        // SAFETY: handles and queue are ours, used by nobody any more, and destroyed before the client (a field, dropped after this).
        unsafe {
            for (_, topic) in self.topics.drain(..) {
                sys::rd_kafka_topic_destroy(topic.0.as_ptr());
            }
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

const _: () = assert!(usize::BITS == 64, "a token must fit a pointer");

/// # Safety
/// `event` is a live event of a producer's main queue.
unsafe fn report_event(event: *mut sys::rd_kafka_event_t, report: &mut dyn FnMut(Event<'_>)) {
    // SAFETY: by the caller's promise; strings and messages live as long as the event.
    unsafe {
        match sys::rd_kafka_event_type(event) {
            sys::RD_KAFKA_EVENT_DR => loop {
                let message = sys::rd_kafka_event_message_next(event);
                let Some(message) = message.as_ref() else { return };
                let token = Token(message._private.addr() as u64);
                report(Event::Delivered(token, outcome(message)));
            },
            sys::RD_KAFKA_EVENT_ERROR => report(Event::Trouble {
                code: sys::rd_kafka_event_error(event).into(),
                reason: text(sys::rd_kafka_event_error_string(event)),
            }),
            sys::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                if sys::rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0 {
                    report(Event::Log { level, facility: text(facility), line: text(line) });
                }
            }
            sys::RD_KAFKA_EVENT_STATS => report(Event::Statistics(text(sys::rd_kafka_event_stats(event)))),
            // Only the kinds above were enabled, and answers come to who has asked.
            _ => {
                if let Some(answer) = raw_admin::answer(event) {
                    report(Event::Answer(answer));
                }
            }
        }
    }
}

/// What became of a message.
///
/// librdkafka takes a batch that failed for delivered when a later one of its partition succeeds: a broker, so it thinks, takes no later one before. But a broker
/// that knows nothing of the producer there takes whichever comes first: of a partition that was just created it may refuse one batch and take the next, a
/// moment later. Nobody has the first one then. What a broker has acknowledged has an offset, and what was only concluded has none.
///
/// # Safety
/// `message` is a message of a live event.
unsafe fn outcome(message: &sys::rd_kafka_message_t) -> Result<(), Undelivered<'_>> {
    let topic = if message.rkt.is_null() {
        c""
    } else {
        // SAFETY: by the caller's promise; the name lives as long as the topic, of which the message holds a reference.
        unsafe { text(sys::rd_kafka_topic_name(message.rkt)) }
    };
    match RDKafkaErrorCode::from(message.err) {
        RDKafkaErrorCode::NoError if message.offset == i64::from(sys::RD_KAFKA_OFFSET_INVALID) => {
            let code = RDKafkaErrorCode::Inconsistent;
            Err(Undelivered {
                code,
                topic,
                remark: c"no broker has acknowledged the record, only a later one",
            })
        }
        RDKafkaErrorCode::NoError => Ok(()),
        code => {
            // Not `rd_kafka_message_errstr`: of a message that was to be sent it returns the payload, which has no place in a log.
            // SAFETY: by the caller's promise.
            let remark = unsafe { text(sys::rd_kafka_message_produce_errstr(message)) };
            Err(Undelivered { code, topic, remark })
        }
    }
}

/// # Safety
/// `string` is null or a C string that lives for `'a`.
unsafe fn text<'a>(string: *const std::ffi::c_char) -> &'a CStr {
    if string.is_null() {
        return c"";
    }
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(string) }
}

fn value(
    vtype: sys::rd_kafka_vtype_t,
    set: impl FnOnce(&mut sys::rd_kafka_vu_s__bindgen_ty_1),
) -> sys::rd_kafka_vu_t {
    let mut u = sys::rd_kafka_vu_s__bindgen_ty_1 { _pad: [0; 64] };
    set(&mut u);
    sys::rd_kafka_vu_t { vtype, u }
}

fn memory(bytes: &[u8]) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
        ptr: bytes.as_ptr().cast_mut().cast(),
        size: bytes.len(),
    }
}
