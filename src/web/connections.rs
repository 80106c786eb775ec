//! Connections: how many there are, how long they may say nothing, and that they end with the daemon.
//!
//! There are never more than the config allows, and no peer has more than half of them; who comes beyond that is turned
//! away at once. A connection that sends no whole head of a request for a while is closed, whether it is idle or drips, and
//! so is one that takes nothing of its answer.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::descriptors;
use super::impatient::Impatient;
use super::peer::Peer;
use super::places::Places;

/// How long a connection may go without a whole head of a request, or without taking anything of an answer.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// How many headers a request has at most.
const MOST_HEADERS: usize = 64;
/// After an `accept` that failed, as when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long one that has asked nothing yet is still listened to then.
const FIRST_WORDS: Duration = Duration::from_millis(200);
/// How long the last answers may take once the daemon is to stop.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A connection that was let in.
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Where programs connect.
pub(crate) trait Accepts {
    /// The next who connects.
    fn accept(&self) -> impl Future<Output = io::Result<(Peer, Stream)>> + Send;
}

impl Accepts for UnixListener {
    async fn accept(&self) -> io::Result<(Peer, Stream)> {
        let (stream, _) = UnixListener::accept(self).await?;
        Ok((Peer::of(&stream)?, Stream::Unix(stream)))
    }
}

impl Accepts for TcpListener {
    async fn accept(&self) -> io::Result<(Peer, Stream)> {
        let (stream, address) = TcpListener::accept(self).await?;
        Ok((Peer::Address(address.ip()), Stream::Tcp(stream)))
    }
}

/// Lets in who connects, as many as there may be and as there are descriptors for, until the daemon stops.
pub(crate) async fn serve(
    listeners: impl Accepts,
    answers: impl Answers + Send + 'static,
    max_connections: u32,
    stop: &CancellationToken,
) {
    let most = usize::try_from(descriptors::affordable(max_connections)).unwrap_or(usize::MAX);
    let (places, tasks) = (Places::new(most, most.div_ceil(2)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listeners.accept() => accepted,
        };
        match accepted {
            Ok((peer, stream)) => {
                let Some(place) = places.take(peer.account()) else { continue };
                let (answers, stop) = (answers.clone(), stop.clone());
                tasks.spawn(async move {
                    let _place = place;
                    match stream {
                        Stream::Unix(stream) => talk(stream, peer, answers, &stop).await,
                        Stream::Tcp(stream) => {
                            if let Err(error) = stream.set_nodelay(true) {
                                tracing::debug!(%error, "answers may be held back");
                            }
                            talk(stream, peer, answers, &stop).await;
                        }
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a program cannot be let in");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listeners);
    tasks.close();
    if tokio::time::timeout(2 * LAST_WORDS, tasks.wait()).await.is_err() {
        tracing::debug!("some connections end without their last answer");
    }
}

/// Who answers what is asked over a connection.
pub(crate) trait Answers: Clone {
    /// Answers one request of this peer.
    fn answer(self, peer: Arc<Peer>, request: Request<Body>) -> impl Future<Output = Response> + Send;
}

/// Answers over one connection, until either side ends it or the daemon stops.
pub(crate) async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    answers: impl Answers,
    stop: &CancellationToken,
) {
    let (tell, mut has_asked) = watch::channel(false);
    let peer = Arc::new(peer);
    let answer = move |request: Request<Incoming>| {
        tell.send_if_modified(|has_asked| !std::mem::replace(has_asked, true));
        let answered = answers.clone().answer(Arc::clone(&peer), request.map(Body::new));
        async move { Ok::<_, Infallible>(answered.await) }
    };
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(SILENCE)
            .max_buf_size(LONGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(Impatient::new(stream, SILENCE)), service_fn(answer))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            // Who has just connected is about to ask: a connection that has asked nothing yet would be closed unheard.
            let first = tokio::time::timeout(FIRST_WORDS, has_asked.wait_for(|asked| *asked));
            let is_heard = async { first.await.is_ok() };
            let has_ended = async { connection.as_mut().await.is_ok() };
            tokio::select! { _ = is_heard => {} _ = has_ended => return }
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_WORDS, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::trace!(error = %io::Error::other(error), "a connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what is asked for.
    #[derive(Clone)]
    struct Echo;

    impl Answers for Echo {
        async fn answer(self, _: Arc<Peer>, _: Request<Body>) -> Response {
            Response::new(Body::from("an answer"))
        }
    }
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    /// What somebody hears who connected just before the daemon stops, and asks so long after it.
    async fn heard(asks_after: Duration) -> (String, Duration) {
        let (mut client, server) = tokio::io::duplex(4_096);
        let (stop, began) = (CancellationToken::new(), Instant::now());
        stop.cancel();
        let peer = Peer::Address([127, 0, 0, 1].into());
        let asking = async {
            tokio::time::sleep(asks_after).await;
            // One that is not listened to any more is told so.
            client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.ok();
            let mut text = String::new();
            client.read_to_string(&mut text).await.expect("text");
            text
        };
        let talking = async {
            talk(server, peer, Echo, &stop).await;
            began.elapsed()
        };
        tokio::join!(asking, talking)
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_connected_when_the_daemon_stops_is_answered_and_nobody_is_waited_for() {
        let (text, took) = heard(FIRST_WORDS / 2).await;
        assert!(text.ends_with("an answer") && took < FIRST_WORDS, "{took:?} {text}");
        let (text, took) = heard(2 * LAST_WORDS).await;
        assert!(text.is_empty() && took <= FIRST_WORDS + LAST_WORDS, "{took:?} {text}");
    }
}
