//! One request whose answer does not end: [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, header};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::{BODY_LIMIT, Client, ClientError, read_problem};

/// The events of an agent, as they come.
#[derive(Debug)]
pub struct Listening {
    client: Client,
    /// Moves the connection on while an event is waited for.
    runtime: Runtime,
    body: Incoming,
    buffer: Vec<u8>,
}

impl Client {
    /// Listens to what is told at `target`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn listen(&self, target: &str) -> Result<Listening, ClientError> {
        let request = Request::get(target).header(header::HOST, "localhost").body(Full::default());
        let request = request.map_err(|error| self.no_answer(error))?;
        let runtime = self.runtime()?;
        let response = runtime.block_on(self.within_time(self.send(request)))?;
        let status = response.status();
        let mut body = response.into_body();
        if status.is_success() {
            return Ok(Listening { client: self.clone(), runtime, body, buffer: Vec::new() });
        }
        let said = runtime.block_on(self.within_time(async {
            let said = (&mut body).collect().await;
            said.map_err(|error| self.no_answer(error))
        }))?;
        Err(read_problem(self, status, &said.to_bytes()))
    }
}

impl Listening {
    /// The data of the next event, as JSON.
    ///
    /// # Errors
    /// Nothing comes for ten seconds, the agent has ended, or what comes is no event.
    pub fn next_event<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        loop {
            if let Some(event) = take_event(&mut self.buffer)
                && let Some(data) = data(&event)
            {
                return serde_json::from_slice(&data).map_err(|error| self.client.no_answer(error));
            }
            if self.buffer.len() > BODY_LIMIT {
                return Err(self.client.no_answer("its event has no end"));
            }
            let more = self.more()?;
            self.buffer.extend_from_slice(&more);
        }
    }

    fn more(&mut self) -> Result<Bytes, ClientError> {
        let Self { client, runtime, body, .. } = self;
        let frame = runtime.block_on(client.within_time(async {
            match body.frame().await {
                Some(frame) => frame.map_err(|error| client.no_answer(error)),
                None => Err(client.no_answer("it has ended the stream")),
            }
        }))?;
        Ok(frame.into_data().unwrap_or_default())
    }
}

/// Takes the first event out, if it is whole: up to the first empty line.
fn take_event(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    Some(buffer.drain(..end + 2).collect())
}

/// The data of an event; `None` of one that has none, such as a comment.
fn data(event: &[u8]) -> Option<Vec<u8>> {
    let lines = event.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    let lines: Vec<&[u8]> = lines.map(|line| line.strip_prefix(b" ").unwrap_or(line)).collect();
    (!lines.is_empty()).then(|| lines.join(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_out_one_by_one() {
        let mut buffer = b": hello\n\nevent: snapshot\ndata: {\"a\":1}\n\ndata:2".to_vec();
        let mut next = || take_event(&mut buffer).map(|event| data(&event));
        assert_eq!(next(), Some(None));
        assert_eq!(next(), Some(Some(b"{\"a\":1}".to_vec())));
        assert_eq!(next(), None);
        assert_eq!(buffer, b"data:2");
        assert_eq!(data(b"data: a\ndata: b\n\n"), Some(b"a\nb".to_vec()));
    }
}
