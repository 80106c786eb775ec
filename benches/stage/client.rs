//! A program that asks the API over a connection that stays.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection that stays, and the request that is made over it.
pub struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(socket: &Path) -> Client {
        let mut patience = 200;
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => return Client { stream, buffer: vec![0; 8_192] },
                Err(error) if patience == 0 => panic!("{}: {error}", socket.display()),
                Err(_) => patience -= 1,
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Asks for a token, and returns the size of the answer's body.
    pub fn token(&mut self, oa_id: &str) -> usize {
        let (status, body) = self.get(&format!("/v1/oas/{oa_id}/token"));
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
        body.len()
    }

    /// Asks, and returns the status and the body of the answer.
    pub fn get(&mut self, target: &str) -> (u16, &[u8]) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).expect("sent");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).expect("an answer");
            assert!(read > 0, "the connection was closed");
            filled += read;
            if let Some((status, head, body)) = whole(&self.buffer[..filled]) {
                return (status, &self.buffer[head..head + body]);
            }
        }
    }
}

/// The status, and the lengths of the head and of the body, if all of it is there.
fn whole(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).expect("HTTP") else { return None };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(Some(0), |length| std::str::from_utf8(length.value).ok()?.parse().ok())?;
    (bytes.len() >= head + length).then_some((response.code?, head, length))
}
