//! Errors, cut by what the caller does next.

use std::error::Error;

use async_nats::jetstream::{
    self, ErrorCode,
    context::{PublishError, PublishErrorKind, RequestError, RequestErrorKind},
};

/// What the broker said when it said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description} (error {code})")]
pub struct Refusal {
    /// JetStream's error code; 0 where the client itself refused.
    pub code: u64,
    /// JetStream's own words.
    pub description: String,
}

/// Why the broker did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No answer, or not now. It may have been done all the same: ask again, or read.
    #[error("the broker is not available: {0}")]
    Unavailable(Box<dyn Error + Send + Sync>),
    /// The stream, the bucket or the consumer is not there: wait for whoever makes it.
    #[error("the broker has no {0}")]
    Missing(String),
    /// It was understood and not done, and the same again is refused again.
    #[error("the broker refused: {0}")]
    Refused(Refusal),
}

/// Not now: try again unchanged.
const TRY_AGAIN: [ErrorCode; 9] = [
    ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
    ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH,
    ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT,
    ErrorCode::CLUSTER_NOT_AVAILABLE,
    ErrorCode::CLUSTER_NOT_LEADER,
    ErrorCode::CLUSTER_NO_PEERS,
    ErrorCode::STREAM_OFFLINE,
    ErrorCode::CONSUMER_OFFLINE,
    ErrorCode::INSUFFICIENT_RESOURCES,
];

/// What was asked for does not exist.
const NOT_THERE: [ErrorCode; 3] =
    [ErrorCode::STREAM_NOT_FOUND, ErrorCode::CONSUMER_NOT_FOUND, ErrorCode::NO_MESSAGE_FOUND];

impl BrokerError {
    /// Whether an expected revision was not the one found.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == ErrorCode::STREAM_WRONG_LAST_SEQUENCE.0)
    }

    /// Whether trying again can help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    pub(crate) fn unavailable(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(why.into())
    }

    pub(crate) fn refused(description: impl Into<String>) -> Self {
        Self::Refused(Refusal { code: 0, description: description.into() })
    }

    pub(crate) fn has_code(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == code.0)
    }
}

impl From<jetstream::Error> for BrokerError {
    fn from(error: jetstream::Error) -> Self {
        let code = error.error_code();
        if NOT_THERE.contains(&code) {
            Self::Missing(error.to_string())
        } else if TRY_AGAIN.contains(&code) || error.code() == 503 {
            Self::Unavailable(error.into())
        } else {
            Self::Refused(Refusal { code: code.0, description: error.to_string() })
        }
    }
}

impl From<RequestError> for BrokerError {
    fn from(error: RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders | RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                Self::Unavailable(error.into())
            }
            RequestErrorKind::InvalidSubject => Self::refused(error.to_string()),
        }
    }
}

impl From<PublishError> for BrokerError {
    fn from(error: PublishError) -> Self {
        if let Some(said) = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>()) {
            return said.clone().into();
        }
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Self::refused(error.to_string()),
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::Other => Self::Unavailable(error.into()),
        }
    }
}
