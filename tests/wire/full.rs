//! An address that gives no answer at all, not even to a connection.

use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A connection that is not there after this long waits in vain: on this machine it takes microseconds.
const IN_VAIN: Duration = Duration::from_millis(300);

/// A listener whose queue is full, so that the next connection gets no answer at all, and what fills it.
pub async fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(IN_VAIN, TcpStream::connect(address)).await {
        waiting.push(stream.expect("a connection"));
        assert!(waiting.len() < 64, "the queue does not fill");
    }
    (listener, waiting)
}
