//! The body of a request: read whole by whoever needs it, up to a length and within a while.
//!
//! It is asked for after the rights: nobody has a body kept in memory who may not bring it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};

use super::problem::Problem;

/// The longest, in bytes: a token response fits in many times.
pub(super) const LONGEST: usize = 64 * 1024;
/// How long it may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole body.
///
/// # Errors
/// When it is too long, comes too slowly, or ends too early.
pub(super) async fn whole(body: Body) -> Result<Vec<u8>, Problem> {
    if body.size_hint().lower() > LONGEST as u64 {
        return Err(Problem::too_large());
    }
    tokio::time::timeout(PATIENCE, gathered(body)).await.unwrap_or_else(|_| Err(Problem::too_slow()))
}

async fn gathered(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Problem::bad_request("the body did not come whole"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > LONGEST {
            return Err(Problem::too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}
