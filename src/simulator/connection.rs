//! One TCP connection and HTTP/1.1 as far as the simulator needs it: reading a head and a body as slowly or as
//! partially as a fault wants, writing bytes, and noticing that the client has gone. Knows nothing of Zalo.
//! Imports nothing of ours.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// The largest head taken in.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;
/// The largest body taken in.
pub(super) const BODY_LIMIT: usize = 64 * 1024;
/// A real request has about 15 headers.
const HEADERS_LIMIT: usize = 100;
/// Time for sent bytes to reach the client before a reset, which would discard them: ample on a loopback, and
/// too short to be taken for a stall.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// The client has gone, or the connection broke: nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Why there is no head.
#[derive(Debug)]
pub(super) enum NoHead {
    Gone { bytes: usize },
    Unreadable(&'static str),
}

/// What to do with the connection after a request.
#[derive(Debug)]
#[must_use]
pub(super) enum Next {
    /// Wait for another request, which may be a violation.
    KeepOpen,
    /// FIN.
    Close,
    /// RST.
    Reset,
}

/// The head of a request.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) is_http_1_1: bool,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The header's value, if it is there; the name in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The announced length of the body; none announced means none.
    pub(super) fn body_length(&self) -> Result<usize, &'static str> {
        if self.header("transfer-encoding").is_some() {
            return Err("the request's body comes without its length: send Content-Length");
        }
        let Some(text) = self.header("content-length") else { return Ok(0) };
        match text.parse::<usize>() {
            Ok(length) if length <= BODY_LIMIT => Ok(length),
            Ok(_) => Err("the request's body is larger than 64 KiB"),
            Err(_) => Err("the request's Content-Length is no number"),
        }
    }
}

/// A connection, with what was read from it and not used yet.
pub(super) struct Connection {
    pub(super) number: u64,
    stream: TcpStream,
    buffer: Vec<u8>,
    has_written: bool,
}

impl Connection {
    pub(super) fn new(number: u64, stream: TcpStream) -> Connection {
        Connection { number, stream, buffer: Vec::new(), has_written: false }
    }

    async fn fill(&mut self) -> Result<(), Gone> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Reads until there are `length` bytes.
    pub(super) async fn fill_to(&mut self, length: usize) -> Result<(), Gone> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(())
    }

    /// What has come and was not used.
    pub(super) fn arrived(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes in what has come by now, without waiting.
    pub(super) fn take_in(&mut self) {
        let mut chunk = [0; 4096];
        while self.buffer.len() < BODY_LIMIT {
            match self.stream.try_read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Takes `length` bytes, which must have arrived.
    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Reads a head and leaves what follows it in the buffer.
    pub(super) async fn read_head(&mut self) -> Result<Head, NoHead> {
        loop {
            if let Some((head, length)) = parse(&self.buffer)? {
                self.take(length);
                return Ok(head);
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(NoHead::Unreadable("the request's head is larger than 64 KiB"));
            }
            if self.fill().await.is_err() {
                return Err(NoHead::Gone { bytes: self.buffer.len() });
            }
        }
    }

    /// Waits until the client goes; what it sends meanwhile is kept, within bounds.
    pub(super) async fn gone(&mut self) {
        while self.buffer.len() <= BODY_LIMIT {
            if self.fill().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the client goes, without reading a byte.
    pub(super) async fn gone_unread(&self) {
        while let Ok(ready) = self.stream.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Clears the readiness, so that the next wait is for news.
            let unread: io::Result<()> =
                self.stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
            if unread.is_ok() {
                return;
            }
        }
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.has_written = true;
        self.stream.write_all(bytes).await.map_err(|_| Gone)
    }

    /// Writes all of it, one byte at a time, with a wait before each.
    pub(super) async fn drip(&mut self, bytes: &[u8], per_byte: Duration) -> Result<(), Gone> {
        for byte in bytes {
            tokio::select! {
                () = tokio::time::sleep(per_byte) => {}
                () = self.gone() => return Err(Gone),
            }
            self.write(&[*byte]).await?;
        }
        Ok(())
    }

    /// Waits until a byte can be written.
    pub(super) async fn writable(&self) -> Result<(), Gone> {
        self.stream.writable().await.map_err(|_| Gone)
    }

    /// Writes one byte now, or says that it cannot be now (`Ok(false)`).
    pub(super) fn write_byte_now(&mut self, byte: u8) -> Result<bool, Gone> {
        self.has_written = true;
        match self.stream.try_write(&[byte]) {
            Ok(count) => Ok(count == 1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(Gone),
        }
    }

    /// Ends the connection by RST: at once if nothing was sent, else after that has had time to arrive.
    pub(super) async fn reset(self) {
        if self.has_written {
            tokio::time::sleep(BEFORE_RESET).await;
        }
        // Without linger, closing sends RST. If it cannot be set, the connection is broken already.
        if self.stream.set_zero_linger().is_ok() {
            drop(self.stream);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, NoHead> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_LIMIT];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(NoHead::Unreadable("the request's head is not HTTP/1.1")),
    };
    let target = request.path.unwrap_or_default();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let owned = |header: &httparse::Header<'_>| {
        (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query,
        is_http_1_1: request.version == Some(1),
        headers: request.headers.iter().map(owned).collect(),
    };
    Ok(Some((head, length)))
}

/// The bytes of an answer, and where its body begins.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) bytes: Vec<u8>,
    pub(super) head_length: usize,
}

impl Reply {
    /// An answer with its length told.
    pub(super) fn new(status: u16, headers: &[(String, String)], body: &[u8]) -> Reply {
        let told = |(name, _): &(String, String)| {
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        };
        let length = (!headers.iter().any(told)).then_some(body.len());
        Reply::with_length(status, headers, body, length)
    }

    /// An answer whose body ends where the connection does.
    pub(super) fn close_delimited(status: u16, headers: &[(String, String)], body: &[u8]) -> Reply {
        Reply::with_length(status, headers, body, None)
    }

    fn with_length(status: u16, headers: &[(String, String)], body: &[u8], length: Option<usize>) -> Reply {
        let mut bytes = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(length) = length {
            bytes.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        let head_length = bytes.len();
        bytes.extend_from_slice(body);
        Reply { status, bytes, head_length }
    }

    /// An answer in JSON.
    pub(super) fn json(status: u16, body: &str) -> Reply {
        Reply::new(status, &[content_type("application/json")], body.as_bytes())
    }

    /// An answer in plain text.
    pub(super) fn text(status: u16, body: &str) -> Reply {
        Reply::new(status, &[content_type("text/plain; charset=utf-8")], body.as_bytes())
    }

    /// A gateway's page.
    pub(super) fn html(status: u16) -> Reply {
        let page = format!("<html><body><h1>{status} {}</h1></body></html>", reason(status));
        Reply::new(status, &[content_type("text/html")], page.as_bytes())
    }
}

pub(super) fn content_type(value: &str) -> (String, String) {
    ("Content-Type".to_owned(), value.to_owned())
}

pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
