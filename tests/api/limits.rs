//! What one peer can ask for, and for how long.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::harness::http::{Request, Response, ask, parse};
use super::harness::{Bench, DEADLINE};
use super::{healthy, section};

/// A connection that is kept for one request after the other.
pub(super) struct Kept<S>(S);

impl Kept<TcpStream> {
    pub(super) async fn to(address: &str) -> Kept<TcpStream> {
        Kept(TcpStream::connect(address).await.expect("the API listens"))
    }
}

impl Kept<UnixStream> {
    pub(super) async fn to_socket(bench: &Bench) -> Kept<UnixStream> {
        Kept(UnixStream::connect(bench.api()).await.expect("the API listens"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Kept<S> {
    pub(super) async fn ask(&mut self, request: Request<'_>) -> Response {
        let text = String::from_utf8(request.bytes()).expect("text");
        self.say(text.replace("Connection: close\r\n", "").as_bytes()).await;
        self.hear().await.expect("an answer")
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
    }

    /// The next answer, with what its length says. `None`: the connection has ended.
    async fn hear(&mut self) -> Option<Response> {
        let hearing = async {
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\r\n\r\n") {
                bytes.push(self.0.read_u8().await.ok()?);
            }
            let mut answer = parse(&bytes);
            let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a number"));
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).await.ok()?;
            Some(answer)
        };
        tokio::time::timeout(DEADLINE, hearing).await.expect("an answer in time")
    }
}
