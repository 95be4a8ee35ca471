//! Answering questions as a NATS micro service.

use async_nats::service::{Service, ServiceExt, endpoint::Endpoint};
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::BoxStream, stream::SelectAll};

use crate::{Broker, BrokerError, header};

/// A service's questions; the service ends when this is dropped.
pub struct Questions {
    questions: SelectAll<BoxStream<'static, Question>>,
    service: Option<Service>,
}

/// One question.
pub struct Question {
    /// The last token of its subject: `state` of `orchestrator.state`.
    pub endpoint: String,
    /// Its body.
    pub payload: Bytes,
    request: async_nats::service::Request,
}

impl Broker {
    /// Answers `<service>.<endpoint>` from now on. `group` must be this process's own: in a shared one half
    /// of the questions would go to a leader that is frozen.
    ///
    /// # Errors
    /// When the names are not legal, or the connection is closed.
    pub async fn serve(
        &self,
        service: &str,
        version: &str,
        endpoints: &[&str],
        group: &str,
    ) -> Result<Questions, BrokerError> {
        let refused = |error: async_nats::Error| BrokerError::refused(error.to_string());
        let client = self.client();
        let running = client.service_builder().queue_group(group).start(service, version).await.map_err(refused)?;
        let mut questions = SelectAll::new();
        for endpoint in endpoints {
            let name = (*endpoint).to_owned();
            let asked = running
                .endpoint_builder()
                .name(endpoint)
                .add(format!("{service}.{endpoint}"))
                .await
                .map_err(refused)?;
            questions.push(tagged(name, asked));
        }
        // The subscriptions are at the broker once it has answered what was sent after them.
        self.barrier().await?;
        Ok(Questions { questions, service: Some(running) })
    }

    /// Returns when the broker has taken in all that was sent before.
    async fn barrier(&self) -> Result<(), BrokerError> {
        let client = self.client();
        let inbox = client.new_inbox();
        let mut echo = client.subscribe(inbox.clone()).await.map_err(BrokerError::unavailable)?;
        client.publish(inbox, Bytes::new()).await.map_err(BrokerError::unavailable)?;
        let timeout = client.timeout().unwrap_or_default();
        tokio::time::timeout(timeout, echo.next()).await.map_err(BrokerError::unavailable)?;
        Ok(())
    }
}

fn tagged(name: String, asked: Endpoint) -> BoxStream<'static, Question> {
    asked
        .map(move |request| Question { endpoint: name.clone(), payload: request.message.payload.clone(), request })
        .boxed()
}

impl Questions {
    /// The next question; waits for as long as there is none. Cancellation safe.
    pub async fn next(&mut self) -> Question {
        match self.questions.next().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        let Some(service) = self.service.take() else { return };
        // Stopping waits for nothing; without a runtime the process is ending anyway.
        let stop: BoxFuture<'static, _> = Box::pin(service.stop());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(stop);
        }
    }
}

impl Question {
    /// Answers it. Where nobody waits any more, nothing happens.
    pub async fn respond(&self, answer: impl Into<Bytes>) {
        if let Err(error) = self.request.respond(Ok(answer.into())).await {
            tracing::debug!("an answer was not sent: {error}");
        }
    }

    /// Says that it cannot be answered, and why.
    pub async fn refuse(&self, code: u16, why: &str) {
        let error = async_nats::service::error::Error { code: code.into(), status: header::value(why) };
        if let Err(error) = self.request.respond(Err(error)).await {
            tracing::debug!("a refusal was not sent: {error}");
        }
    }
}
