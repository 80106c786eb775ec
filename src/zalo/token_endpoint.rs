//! One refresh at the token endpoint: through the gate, and the whole answer back.

use reqwest::{Client, Response, Url, header};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::client::{CONNECT_CAP, Door};
use super::gate::{Gate, Gatekeeper, gated};
use super::received::Received;
use crate::clock::{Reading, Time};
use crate::failpoint;
use crate::http::failure;
use crate::oauth::SECRET_HEADER;
use crate::rotation::{Ending, Exchange};
use crate::secret::Secret;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// From the opening of the gate to the end of the answer.
    pub answer: Duration,
}

/// What is to be presented, and where.
pub struct Presentation {
    /// The token endpoint.
    pub token_url: Url,
    /// The app's secret, for the header.
    pub secret_key: Secret,
    /// The form, with the refresh token last.
    pub form: Secret,
    /// How long it may take.
    pub caps: Caps,
}

/// Why the journal did not take the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalFailure {
    /// The OA is no longer as it was claimed.
    Stale,
    /// The disk does not take it, or nobody knows whether it did.
    Unavailable(String),
}

/// What happened.
#[derive(Debug)]
pub struct Presented {
    /// The exchange.
    pub exchange: Exchange,
    /// Both clocks when the gate opened; `None` if it never did.
    pub opened_at: Option<Reading>,
    /// Why the journal refused, if that was the cause.
    pub journal_failure: Option<JournalFailure>,
    /// The attempt was journalled, or may have been, before the gate was barred.
    pub may_be_journalled: bool,
    /// The gate was barred because the program is stopping.
    pub was_stopped: bool,
    /// The other side's certificate was refused.
    pub is_certificate_fault: bool,
}

impl Door {
    /// Presents a refresh token. `journal` makes the attempt durable; it is polled only when everything but the
    /// last byte is on its way, and always to its end. Where this is dropped before it returns, or panics, `gate` and
    /// `received` say what it had come to.
    pub async fn present<J>(
        &self,
        presentation: Presentation,
        gate: &Gate,
        received: &Received,
        journal: J,
        stop: &CancellationToken,
    ) -> Presented
    where
        J: Future<Output = Result<(), JournalFailure>>,
    {
        let Presentation { token_url, secret_key, form, caps } = presentation;
        let Some(client) = self.client(&token_url) else {
            gate.bar();
            return not_presented("no HTTPS client was made for this address".to_owned(), None);
        };
        let (body, Gatekeeper { asked, release }) = gated(&form);
        let cap = CONNECT_CAP.min(caps.answer);
        let patience = Patience { cap, ends_at: Instant::now() + cap, stop };
        // In a box of its own, so that giving up can drop it and with it the connection.
        let mut answer = Box::pin(request(client, token_url, &secret_key, reqwest::Body::wrap(body)));

        // 1. Everything but the last byte goes out.
        let is_asked = tokio::select! {
            biased;
            asked = asked => asked.is_ok(),
            early = patience.early(&mut answer) => {
                gate.bar();
                return self.gave_up(early, false);
            }
        };
        if !is_asked {
            // The connection gave the body up: its failure is on the way.
            let early = patience.early(&mut answer).await;
            gate.bar();
            return self.gave_up(early, false);
        }

        // 2. The attempt is made durable. Its end is always awaited: it decides whether a row is there.
        let mut journal = pin!(journal);
        let journalled = tokio::select! {
            biased;
            journalled = &mut journal => journalled,
            early = patience.early(&mut answer) => {
                gate.bar();
                drop(answer);
                let is_stale = journal.await == Err(JournalFailure::Stale);
                return self.gave_up(early, !is_stale);
            }
        };
        if let Err(failure) = journalled {
            gate.bar();
            return refused_by_journal(failure);
        }

        // 3. The gate opens. The clocks are read before: what Zalo counts from cannot be earlier.
        let reading = self.clock.read();
        if !gate.open() {
            return Presented {
                may_be_journalled: true,
                ..not_presented("the gate is barred".to_owned(), None)
            };
        }
        failpoint::pass("gate.opened");
        if release.send(()).is_err() {
            tracing::debug!("the connection went away at the gate");
        }
        failpoint::pass("gate.released");

        // 4. The whole answer is read, whatever it is.
        let deadline = Instant::now() + caps.answer;
        let detail = match timeout_at(deadline, &mut answer).await {
            Err(_) => format!("no answer within {:?}", caps.answer),
            Ok(Err(error)) => failure::describe(&error.without_url()),
            Ok(Ok(response)) => {
                self.read(response, received, deadline, caps).await;
                failpoint::pass("answer.read");
                String::new()
            }
        };
        Presented {
            exchange: received.exchange(detail),
            opened_at: Some(reading),
            journal_failure: None,
            may_be_journalled: true,
            was_stopped: false,
            is_certificate_fault: false,
        }
    }

    /// What it means that the attempt was given up while the gate was shut.
    fn gave_up(&self, early: Early, may_be_journalled: bool) -> Presented {
        let presented = match early {
            Early::Answer(response) => {
                let detail = format!("answered {} before the last byte", response.status().as_u16());
                not_presented(detail, retry_after(&response, self.clock.now()))
            }
            Early::Failure(error) => {
                let is_certificate_fault = failure::is_certificate_fault(&error);
                let detail = failure::describe(&error.without_url());
                Presented { is_certificate_fault, ..not_presented(detail, None) }
            }
            Early::Cap(cap) => not_presented(format!("no connection within {cap:?}"), None),
            Early::Stop => {
                Presented { was_stopped: true, ..not_presented("the daemon is stopping".to_owned(), None) }
            }
        };
        Presented { may_be_journalled, ..presented }
    }

    /// Reads the answer to its end, to the cap of its size or to the deadline, whichever comes first. What came
    /// until then is kept.
    async fn read(&self, mut response: Response, received: &Received, deadline: Instant, caps: Caps) {
        received.begin(response.status().as_u16());
        failpoint::pass("answer.begun");
        let ending = loop {
            match timeout_at(deadline, response.chunk()).await {
                Err(_) => break Ending::CutOff(format!("the answer did not end within {:?}", caps.answer)),
                Ok(Err(error)) => break Ending::CutOff(failure::describe(&error.without_url())),
                Ok(Ok(None)) => break Ending::Whole,
                Ok(Ok(Some(chunk))) if received.add(&chunk) => {}
                Ok(Ok(Some(_))) => break Ending::CutOff("the answer is longer than 64 KiB".to_owned()),
            }
        };
        received.end(ending);
        // After the body, the only copy of what it holds.
        received.wait(retry_after(&response, self.clock.now()));
    }
}

/// What came before the gate could open.
enum Early {
    Answer(Response),
    Failure(reqwest::Error),
    Cap(Duration),
    Stop,
}

/// How long the way to the gate may take, and what else ends it.
struct Patience<'s> {
    cap: Duration,
    ends_at: Instant,
    stop: &'s CancellationToken,
}

impl Patience<'_> {
    /// Waits for a reason to give up: an early answer, a failure, the cap, a stop.
    async fn early(
        &self,
        answer: &mut (impl Future<Output = Result<Response, reqwest::Error>> + Unpin),
    ) -> Early {
        tokio::select! {
            biased;
            early = answer => match early {
                Ok(response) => Early::Answer(response),
                Err(error) => Early::Failure(error),
            },
            () = self.stop.cancelled() => Early::Stop,
            () = sleep_until(self.ends_at) => Early::Cap(self.cap),
        }
    }
}

fn refused_by_journal(failure: JournalFailure) -> Presented {
    let detail = match &failure {
        JournalFailure::Stale => "the OA changed meanwhile".to_owned(),
        JournalFailure::Unavailable(what) => format!("the store did not take the attempt: {what}"),
    };
    let may_be_journalled = failure != JournalFailure::Stale;
    Presented { journal_failure: Some(failure), may_be_journalled, ..not_presented(detail, None) }
}

async fn request(
    client: &Client,
    token_url: Url,
    secret_key: &Secret,
    body: reqwest::Body,
) -> Result<Response, reqwest::Error> {
    let mut secret = header::HeaderValue::from_str(secret_key.expose())
        .unwrap_or_else(|_| header::HeaderValue::from_static(""));
    secret.set_sensitive(true);
    client
        .post(token_url)
        .header(SECRET_HEADER, secret)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(body)
        .send()
        .await
}

fn not_presented(detail: String, retry_after: Option<Duration>) -> Presented {
    Presented {
        exchange: Exchange::NotPresented { detail, retry_after },
        opened_at: None,
        journal_failure: None,
        may_be_journalled: false,
        was_stopped: false,
        is_certificate_fault: false,
    }
}

fn retry_after(response: &Response, now: Time) -> Option<Duration> {
    read_retry_after(response.headers().get(header::RETRY_AFTER)?.to_str().ok()?, now)
}

/// What a `Retry-After` (RFC 9110 section 10.2.3) asks for, in seconds or as a date, counted from now. How much of that
/// is honoured is for `rotation` to say. `None`: neither can be read.
pub fn read_retry_after(value: &str, now: Time) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    httpdate::parse_http_date(value).ok().map(|date| Time::from_system(date).since(now))
}
