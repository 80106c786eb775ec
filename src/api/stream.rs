//! `GET /v1/events`: the log's events as server-sent events, for who may read the OAs that they are about.
//!
//! Each event has the id `RUN-NUMBER`; who comes back with `Last-Event-ID` reads on where he was. Where that cannot be, as
//! after a restart, or for one who reads too slowly, an event `gap` says so, and he has to look at the states again. Nothing
//! is kept for a reader but his place in the [feed](crate::telemetry::feed) and what is on its way to him.

use std::convert::Infallible;
use std::fmt::Write;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use http_body::Frame;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::problem::Problem;
use super::rights::Rights;
use super::{Api, of_type};
use crate::config::Verb;
use crate::id::OaId;
use crate::telemetry::feed::{FeedReader, Happening, Read};
use crate::web::{Place, Places};

/// How long nothing is said before a comment is.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon a client that lost its stream is to come back, in milliseconds.
const RETRY: u64 = 2_000;
/// How many streams one peer has at most.
const MOST_STREAMS: usize = 16;
/// How many events are on their way to a reader at once.
const MOST_AT_ONCE: usize = 64;

/// The streams there are.
pub(super) struct Streams {
    /// An id of this run of the daemon.
    run: String,
    places: Arc<Places>,
}

impl Default for Streams {
    fn default() -> Streams {
        let mut run = uuid::Uuid::new_v4().simple().to_string();
        run.truncate(12);
        // In all there are no more than there are connections.
        Streams { run, places: Places::new(usize::MAX, MOST_STREAMS) }
    }
}

impl Streams {
    /// The number of the event that is meant, if it is one of this run.
    fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()
    }
}

/// Which events.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    oa_id: Option<String>,
}

pub(super) async fn events(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    which: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let which = which.map_err(|_| Problem::bad_request("the query is not understood; it has oa_id=OA_ID"));
    // Who may read nothing is told that, and not what is wrong with the query.
    if !api.rights().may_any(&caller, Verb::Read) {
        api.require_all(&caller, Verb::Read)?;
    }
    let oa_id = which?.0.oa_id.map(OaId::from);
    if let Some(oa_id) = &oa_id {
        api.require(&caller, Verb::Read, oa_id)?;
    }
    let place = api.streams.places.take(caller.account()).ok_or_else(|| {
        let detail =
            format!("this peer has {MOST_STREAMS} streams of events already; one may ask for all OAs");
        Problem::too_many(HEARTBEAT, detail)
    })?;
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default());
    let (reader, gap) = resume(&api, last.filter(|id| !id.is_empty()));
    let source = Source { api, caller, oa_id, reader, _place: place };
    let stream = Stream { next: Some(Box::pin(source.begin(gap))) };
    Ok(of_type("text/event-stream", Body::new(stream)))
}

/// Where somebody reads on who has seen this event last; and whether he missed some.
fn resume(api: &Api, last: Option<&str>) -> (FeedReader, bool) {
    let Some(last) = last else { return (api.feed().read(), false) };
    let Some(number) = api.streams.number(last) else { return (api.feed().read(), true) };
    let reader = api.feed().read_after(number);
    let is_of_the_future = reader.place() != number;
    (reader, is_of_the_future)
}

/// Where the stream comes from.
struct Source {
    api: Arc<Api>,
    caller: Caller,
    /// Only of this one.
    oa_id: Option<OaId>,
    reader: FeedReader,
    _place: Place,
}

type Next = Pin<Box<dyn Future<Output = Option<(Source, Bytes)>> + Send>>;

impl Source {
    /// The first thing that is said: where the reader is, so that he can come back there also if nothing happens.
    async fn begin(self, gap: bool) -> Option<(Source, Bytes)> {
        let mut text = format!("retry: {RETRY}\nid: {}\n\n", self.id(self.reader.place()));
        if gap {
            self.write_gap(&mut text);
        }
        Some((self, text.into()))
    }

    /// The next thing that is said. `None`: no more is.
    async fn next(mut self) -> Option<(Source, Bytes)> {
        let mut silence = std::pin::pin!(tokio::time::sleep(HEARTBEAT));
        loop {
            let text = match heard(&mut self.reader, &self.api.stop, silence.as_mut()).await? {
                Some(read) => self.told(read)?,
                // With the place, so that one who is told little does not seem to have fallen behind.
                None => format!(": alive\nid: {}\n\n", self.id(self.reader.place())),
            };
            if !text.is_empty() {
                return Some((self, text.into()));
            }
        }
    }

    /// As the stream has it. `None`: the caller may not read it any more.
    fn told(&self, read: Read) -> Option<String> {
        let rights = self.api.rights();
        let may_read_on = match &self.oa_id {
            Some(oa_id) => rights.may(&self.caller, Verb::Read, oa_id),
            None => rights.may_any(&self.caller, Verb::Read),
        };
        let mut text = String::new();
        match read {
            Read::Missed(_) => self.write_gap(&mut text),
            Read::Events(events) => {
                let may_all = rights.may_all(&self.caller, Verb::Read);
                for event in events.iter().filter(|event| self.is_for_him(event, &rights, may_all)) {
                    write_event(&mut text, &self.id(event.number), &event.event, &event.to_json());
                }
            }
        }
        may_read_on.then_some(text)
    }

    fn is_for_him(&self, happening: &Happening, rights: &Rights, may_all: bool) -> bool {
        match (&self.oa_id, happening.oa_id.as_deref()) {
            (Some(wanted), about) => about == Some(wanted.as_str()),
            (None, None) => may_all,
            (None, Some(about)) => may_all || rights.may(&self.caller, Verb::Read, &OaId::from(about)),
        }
    }

    fn write_gap(&self, text: &mut String) {
        let told = json!({"detail": "events were missed; read the states again (GET /v1/oas)"});
        write_event(text, &self.id(self.reader.place()), "gap", &told);
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.api.streams.run)
    }
}

/// What is read next. `Some(None)`: nothing was for long. `None`: the daemon stops.
async fn heard(
    reader: &mut FeedReader,
    stop: &CancellationToken,
    silence: Pin<&mut Sleep>,
) -> Option<Option<Read>> {
    tokio::select! {
        biased;
        read = reader.next(MOST_AT_ONCE) => Some(Some(read)),
        () = stop.cancelled() => None,
        () = silence => Some(None),
    }
}

fn write_event(text: &mut String, id: &str, name: &str, data: &serde_json::Value) {
    // To a string it never fails; JSON is on one line.
    write!(text, "id: {id}\nevent: {name}\ndata: {data}\n\n").unwrap_or_default();
}

/// The body of the answer: asked for the next piece only when the last one has gone into the connection.
struct Stream {
    next: Option<Next>,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        match next.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.next = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some((source, bytes))) => {
                self.next = Some(Box::pin(source.next()));
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Feed;
    use crate::web::Account;

    #[test]
    fn a_peer_has_so_many_streams_and_one_that_ends_makes_room() {
        let streams = Streams::default();
        let begin = |uid| streams.places.take(Account::User(uid));
        let mut places: Vec<_> = (0..MOST_STREAMS).map(|_| begin(1)).collect();
        assert!(places.iter().all(Option::is_some) && begin(1).is_none());
        assert!(begin(2).is_some(), "another peer");
        places.pop();
        assert!(begin(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_while_of_silence_there_is_a_heartbeat_and_a_stop_ends_it() {
        let (mut reader, stop) = (Feed::default().read(), CancellationToken::new());
        let began = tokio::time::Instant::now();
        let mut silence = std::pin::pin!(tokio::time::sleep(HEARTBEAT));
        assert_eq!(heard(&mut reader, &stop, silence.as_mut()).await, Some(None));
        assert_eq!(began.elapsed().as_secs(), 15);
        stop.cancel();
        let mut silence = std::pin::pin!(tokio::time::sleep(HEARTBEAT));
        assert_eq!(heard(&mut reader, &stop, silence.as_mut()).await, None);
    }

    #[test]
    fn an_id_is_known_by_the_run_that_gave_it() {
        let (streams, others) = (Streams::default(), Streams::default());
        assert_eq!(streams.number(&format!("{}-17", streams.run)), Some(17));
        assert_eq!(streams.number(&format!("{}-17", others.run)), None);
        for id in ["", "17", "-17", "x-17", &format!("{}-", streams.run), &format!("{}17", streams.run)] {
            assert_eq!(streams.number(id), None, "{id}");
        }
    }

    #[test]
    fn an_event_is_three_lines_whatever_is_in_it() {
        let mut text = String::new();
        write_event(&mut text, "r-1", "e.f", &json!({"detail": "a\nb\r\ndata: c"}));
        assert_eq!(text, "id: r-1\nevent: e.f\ndata: {\"detail\":\"a\\nb\\r\\ndata: c\"}\n\n");
    }
}
