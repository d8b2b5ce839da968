//! Questions about topics by librdkafka's admin calls, asked through a client that exists anyway and answered on its own queue.
//!
//! Why not the `rdkafka` crate's `AdminClient`: it is a client of its own with a thread that polls, its results are futures, and it knows no `DescribeTopics`.
//!
//! Soundness, beyond what [`raw`](crate::raw) says: every object made here is destroyed here, after its last use; librdkafka copies what a request needs
//! before the call returns; what a result points to lives as long as its event.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::slice;
use std::time::Duration;

use keyferry_event::Failure;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use sys::rd_kafka_admin_op_t as op;

use crate::error::class_of_trouble;
use crate::topics::{Answer, Creation, Described, Description, Entries, NewTopic, Question, Request};

/// A client and the queue that its answers go to, both live.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) client: *mut sys::rd_kafka_t,
    pub(crate) queue: *mut sys::rd_kafka_queue_t,
}

/// Sends `request` on its way. The answer is an event of the queue.
///
/// # Errors
/// A name or value holds a null byte, or librdkafka refuses an argument.
///
/// # Safety
/// Client and queue are live.
pub(crate) unsafe fn ask(asked: Asked, request: &Request) -> Result<(), Failure> {
    // SAFETY: by the caller's promise.
    unsafe {
        match &request.question {
            Question::Describe(topics) => describe(asked, topics, request.timeout),
            Question::Configuration(topics) => configuration(asked, topics, request.timeout),
            Question::Create(topics) => create(asked, topics, request.timeout),
        }
    }
}

/// The answer that `event` is, if it is one.
///
/// # Safety
/// `event` is live.
pub(crate) unsafe fn answer(event: *mut sys::rd_kafka_event_t) -> Option<Answer> {
    // SAFETY: by the caller's promise; a result is only taken from an event of its type.
    unsafe {
        let outcome = outcome_of(event);
        match sys::rd_kafka_event_type(event) {
            sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                let topics = || described(sys::rd_kafka_event_DescribeTopics_result(event));
                Some(Answer::Described(outcome.map(|()| topics())))
            }
            sys::RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT => {
                let topics = || configured(sys::rd_kafka_event_DescribeConfigs_result(event));
                Some(Answer::Configuration(outcome.map(|()| topics())))
            }
            sys::RD_KAFKA_EVENT_CREATETOPICS_RESULT => {
                let topics = || created(sys::rd_kafka_event_CreateTopics_result(event));
                Some(Answer::Created(outcome.map(|()| topics())))
            }
            _ => None,
        }
    }
}

unsafe fn describe(asked: Asked, topics: &[String], timeout: Duration) -> Result<(), Failure> {
    let names = topics.iter().map(|topic| c_string(topic)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: see the module.
    unsafe {
        let options = Options::new(asked, op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
        let refused = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
        if !refused.is_null() {
            sys::rd_kafka_error_destroy(refused);
        }
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        sys::rd_kafka_DescribeTopics(asked.client, collection, options.0, asked.queue);
        sys::rd_kafka_TopicCollection_destroy(collection);
    }
    Ok(())
}

unsafe fn configuration(asked: Asked, topics: &[String], timeout: Duration) -> Result<(), Failure> {
    let names = topics.iter().map(|topic| c_string(topic)).collect::<Result<Vec<_>, _>>()?;
    // SAFETY: see the module.
    unsafe {
        let options = Options::new(asked, op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout);
        let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        let mut resources: Vec<_> =
            names.iter().map(|name| sys::rd_kafka_ConfigResource_new(kind, name.as_ptr())).collect();
        let (first, count) = (resources.as_mut_ptr(), resources.len());
        sys::rd_kafka_DescribeConfigs(asked.client, first, count, options.0, asked.queue);
        sys::rd_kafka_ConfigResource_destroy_array(first, count);
    }
    Ok(())
}

unsafe fn create(asked: Asked, topics: &[NewTopic], timeout: Duration) -> Result<(), Failure> {
    let mut made = NewTopics(Vec::with_capacity(topics.len()));
    for topic in topics {
        // SAFETY: see the module.
        made.0.push(unsafe { new_topic(topic)? });
    }
    // SAFETY: see the module.
    unsafe {
        let options = Options::new(asked, op::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout);
        sys::rd_kafka_CreateTopics(asked.client, made.0.as_mut_ptr(), made.0.len(), options.0, asked.queue);
    }
    Ok(())
}

unsafe fn new_topic(topic: &NewTopic) -> Result<*mut sys::rd_kafka_NewTopic_t, Failure> {
    let name = c_string(&topic.name)?;
    let number = |given: Option<u16>| given.map_or(-1, c_int::from);
    let (partitions, replication) = (number(topic.partitions), number(topic.replication));
    let mut reason = [0; 256];
    // SAFETY: see the module; `reason` is as long as is said.
    unsafe {
        let (reason, length) = (reason.as_mut_ptr(), reason.len());
        let made = sys::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replication, reason, length);
        if made.is_null() {
            return Err(Failure::transient(format!("{}: {}", topic.name, text(reason))));
        }
        let made = NewTopics(vec![made]);
        for (name, value) in &topic.configuration {
            let (name, value) = (c_string(name)?, c_string(value)?);
            sys::rd_kafka_NewTopic_set_config(made.0[0], name.as_ptr(), value.as_ptr());
        }
        Ok(made.release())
    }
}

unsafe fn described(result: *const sys::rd_kafka_DescribeTopics_result_t) -> Vec<(String, Described)> {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        items(topics, count).iter().map(|topic| (name_of(*topic), description(*topic))).collect()
    }
}

unsafe fn name_of(topic: *const sys::rd_kafka_TopicDescription_t) -> String {
    // SAFETY: by the caller's promise.
    unsafe { text(sys::rd_kafka_TopicDescription_name(topic)) }
}

unsafe fn description(topic: *const sys::rd_kafka_TopicDescription_t) -> Described {
    use RDKafkaErrorCode as Code;
    // SAFETY: by the caller's promise.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            if matches!(Code::from(code), Code::UnknownTopicOrPartition | Code::UnknownTopic) {
                return Described::Missing;
            }
            if let Err(failure) = outcome_of_code(code, sys::rd_kafka_error_string(error)) {
                return Described::Refused(failure);
            }
        }
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let partitions = items(partitions, count);
        let is_leaderless = |partition: &&_| {
            let leader = sys::rd_kafka_TopicPartitionInfo_leader(**partition);
            leader.is_null() || sys::rd_kafka_Node_id(leader) < 0
        };
        let replicas = |partition: &_| {
            let mut count = 0;
            sys::rd_kafka_TopicPartitionInfo_replicas(*partition, &mut count);
            count
        };
        Described::Present(Description {
            partitions: count,
            leaderless: partitions.iter().filter(is_leaderless).count(),
            replicas: partitions.iter().map(replicas).min().unwrap_or_default(),
            writable: may_write(topic),
        })
    }
}

unsafe fn may_write(topic: *const sys::rd_kafka_TopicDescription_t) -> Option<bool> {
    use sys::rd_kafka_AclOperation_t as operation;
    // SAFETY: by the caller's promise.
    unsafe {
        let mut count = 0;
        let allowed = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        let allowed = items(allowed, count);
        let write = |allowed: &operation| {
            matches!(allowed, operation::RD_KAFKA_ACL_OPERATION_WRITE | operation::RD_KAFKA_ACL_OPERATION_ALL)
        };
        // A broker that does not know the question answers with nothing at all.
        (!allowed.is_empty()).then(|| allowed.iter().any(write))
    }
}

unsafe fn configured(
    result: *const sys::rd_kafka_DescribeConfigs_result_t,
) -> Vec<(String, Result<Entries, Failure>)> {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut count = 0;
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        let of_one = |resource: &*const sys::rd_kafka_ConfigResource_t| {
            let outcome = outcome_of_code(
                sys::rd_kafka_ConfigResource_error(*resource),
                sys::rd_kafka_ConfigResource_error_string(*resource),
            );
            let name = text(sys::rd_kafka_ConfigResource_name(*resource));
            (name, outcome.map(|()| entries(*resource)))
        };
        items(resources, count).iter().map(of_one).collect()
    }
}

unsafe fn entries(resource: *const sys::rd_kafka_ConfigResource_t) -> Entries {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut count = 0;
        let entries = sys::rd_kafka_ConfigResource_configs(resource, &mut count);
        let pair = |entry: &*const sys::rd_kafka_ConfigEntry_t| {
            let value = sys::rd_kafka_ConfigEntry_value(*entry);
            (text(sys::rd_kafka_ConfigEntry_name(*entry)), text(value))
        };
        items(entries, count).iter().map(pair).collect()
    }
}

unsafe fn created(result: *const sys::rd_kafka_CreateTopics_result_t) -> Vec<(String, Result<(), Creation>)> {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut count = 0;
        let topics = sys::rd_kafka_CreateTopics_result_topics(result, &mut count);
        let of_one = |topic: &*const sys::rd_kafka_topic_result_t| {
            let error = sys::rd_kafka_topic_result_error(*topic);
            let outcome = match RDKafkaErrorCode::from(error) {
                RDKafkaErrorCode::TopicAlreadyExists => Err(Creation::Exists),
                _ => outcome_of_code(error, sys::rd_kafka_topic_result_error_string(*topic))
                    .map_err(Creation::Failed),
            };
            (text(sys::rd_kafka_topic_result_name(*topic)), outcome)
        };
        items(topics, count).iter().map(of_one).collect()
    }
}

unsafe fn outcome_of(event: *mut sys::rd_kafka_event_t) -> Result<(), Failure> {
    // SAFETY: by the caller's promise.
    unsafe { outcome_of_code(sys::rd_kafka_event_error(event), sys::rd_kafka_event_error_string(event)) }
}

unsafe fn outcome_of_code(code: sys::rd_kafka_resp_err_t, remark: *const c_char) -> Result<(), Failure> {
    match RDKafkaErrorCode::from(code) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => {
            // SAFETY: by the caller's promise.
            let reason = match unsafe { text(remark) } {
                remark if remark.is_empty() => code.to_string(),
                remark => remark,
            };
            Err(Failure { class: class_of_trouble(code), reason })
        }
    }
}

/// Options of a request, destroyed when dropped.
struct Options(*mut sys::rd_kafka_AdminOptions_t);

impl Options {
    unsafe fn new(asked: Asked, kind: op, timeout: Duration) -> Self {
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client is live. A timeout out of bounds is refused and leaves the default; no text is asked for.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(asked.client, kind);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
            Self(options)
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: it is ours, and used by nobody any more.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

/// Descriptions of topics to create, destroyed when dropped.
struct NewTopics(Vec<*mut sys::rd_kafka_NewTopic_t>);

impl NewTopics {
    /// The first, which is somebody else's to destroy from now on.
    fn release(mut self) -> *mut sys::rd_kafka_NewTopic_t {
        self.0.remove(0)
    }
}

impl Drop for NewTopics {
    fn drop(&mut self) {
        for topic in self.0.drain(..) {
            // SAFETY: it is ours, and used by nobody any more.
            unsafe { sys::rd_kafka_NewTopic_destroy(topic) }
        }
    }
}

fn c_string(string: &str) -> Result<CString, Failure> {
    CString::new(string).map_err(|_| Failure::transient(format!("{string:?} holds a null byte")))
}

/// # Safety
/// `string` is null or a live C string.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// # Safety
/// `first` is null, or the first of `count` values that live for `'a`.
unsafe fn items<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: by the caller's promise.
    unsafe { slice::from_raw_parts(first, count) }
}
