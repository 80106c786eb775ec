//! A client of the API, of the tests' own: one request a connection, and the whole answer.

use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::DEADLINE;

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The stable word of a problem.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        self.json()["type"].as_str().expect("a word").to_owned()
    }
}

/// What a request is.
pub struct Request<'r> {
    pub method: &'r str,
    pub target: &'r str,
    pub headers: &'r [(&'r str, &'r str)],
    pub body: &'r str,
}

impl<'r> Request<'r> {
    pub fn get(target: &'r str) -> Request<'r> {
        Request { method: "GET", target, headers: &[], body: "" }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let Request { method, target, headers, body } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        text.into_bytes()
    }
}

/// Asks at a socket.
pub async fn ask(socket: &Path, request: Request<'_>) -> Response {
    let stream = UnixStream::connect(socket).await.expect("the API listens");
    ask_over(stream, &request.bytes()).await
}

/// Asks over a connection that is there.
pub async fn ask_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Response {
    let asking = async {
        stream.write_all(request).await.expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        bytes
    };
    let bytes = tokio::time::timeout(DEADLINE, asking).await.expect("an answer in time");
    parse(&bytes)
}

/// Takes an answer apart that came whole.
pub fn parse(bytes: &[u8]) -> Response {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).expect("HTTP") else {
        panic!("half an answer")
    };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let headers = head.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value)));
    Response {
        status: head.code.expect("a status"),
        headers: headers.collect(),
        body: bytes[length..].to_vec(),
    }
}
