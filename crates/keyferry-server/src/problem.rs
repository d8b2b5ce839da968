//! What is said when something is wrong: problem details by RFC 9457.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::Refusal;

/// What is wrong (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// `urn:keyferry:problem:<kind>`, for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for people.
    pub title: String,
    /// The status of the response.
    pub status: u16,
    /// What exactly is wrong, and what to do.
    pub detail: String,
    /// After how many seconds it may be tried again, as a header.
    #[serde(skip)]
    #[schema(ignore)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// The media type.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:keyferry:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// The path is there, but not for this method.
    pub fn method_not_allowed() -> Self {
        let detail = "this method is not for this path; the header Allow has those that are";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    /// The request cannot be understood. `status` is what the reader of requests makes of it.
    pub fn malformed(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, "malformed", "Malformed request", detail)
    }

    /// The request took too long to arrive.
    pub fn too_slow() -> Self {
        let detail = "the request has not arrived in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "Request too slow", detail)
    }

    /// Who asks must say that he may.
    pub fn unauthorized() -> Self {
        let detail = "this takes a token that `api.token` or `api.tokens` sets, as `Authorization: Bearer TOKEN`, or a login, if `api.oidc` is set";
        Self::new(StatusCode::UNAUTHORIZED, "no-token", "Token needed", detail)
    }

    /// Who asks must wait for so long.
    pub fn too_many(wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
        let detail =
            format!("too many requests, or too many tokens that are not known; ask again in {seconds} s");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests", detail);
        Self { retry_after: Some(seconds), ..problem }
    }

    /// Who asks may not do this, or nobody may.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// The request is for another host.
    pub fn misdirected(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", "Another host", detail)
    }

    /// The request is not of the one type that a change may have.
    pub fn not_json() -> Self {
        let detail = "a change must have the header `Content-Type: application/json`";
        Self::malformed(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// It cannot be answered now.
    pub fn unavailable(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, "Not available", detail)
    }

    /// Not everything is being delivered.
    pub fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not delivering", detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(detail) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Change not possible", detail)
            }
            Refusal::NotNow(detail) => {
                Self::new(StatusCode::CONFLICT, "not-now", "Change not possible now", detail)
            }
            Refusal::Stale(detail) => {
                Self::new(StatusCode::PRECONDITION_FAILED, "stale", "Something else is there now", detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
