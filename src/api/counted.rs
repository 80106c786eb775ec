//! What is counted of the whole fleet: once a second at most, however many ask and however soon they go away.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Api, in_time};
use crate::id::OaId;
use crate::store::{AppStatus, Overview};

/// How long a count is good enough for whoever asks next.
const FRESH: Duration = Duration::from_secs(1);

/// What is counted now and then.
pub(super) struct Counted<T>(Mutex<Option<Last<T>>>);

/// The last count, or why there was none, and when that was.
type Last<T> = (Instant, Result<Arc<T>, String>);

impl<T> Default for Counted<T> {
    fn default() -> Counted<T> {
        Counted(Mutex::default())
    }
}

impl<T> Counted<T> {
    /// The last count if it is fresh; else `count` is awaited, by all who ask meanwhile.
    async fn get(&self, count: impl Future<Output = Result<T, String>>) -> Result<Arc<T>, String> {
        let mut last = self.0.lock().await;
        if let Some((at, counted)) = &*last
            && at.elapsed() < FRESH
        {
            return counted.clone();
        }
        let counted = count.await.map(Arc::new);
        *last = Some((Instant::now(), counted.clone()));
        counted
    }
}

/// The fleet, as it was counted last.
pub(super) struct Fleet {
    pub(super) overview: Overview,
    pub(super) held_apps: Vec<AppStatus>,
}

impl Api {
    /// The fleet at a glance.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub(super) async fn fleet(self: &Arc<Api>) -> Result<Arc<Fleet>, String> {
        let api = Arc::clone(self);
        finished(async move { api.fleet.get(api.count_fleet()).await }).await
    }

    async fn count_fleet(&self) -> Result<Fleet, String> {
        Ok(Fleet {
            overview: in_time(self.reader.overview(self.clock.read())).await?,
            held_apps: in_time(self.reader.held_apps()).await?,
        })
    }

    /// The OAs that need a person, the most urgent first.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub(super) async fn needing(self: &Arc<Api>) -> Result<Arc<Vec<OaId>>, String> {
        let api = Arc::clone(self);
        let now = api.clock.now();
        finished(async move { api.needing.get(in_time(api.reader.needing(now))).await }).await
    }

    /// The series of each OA, as text.
    ///
    /// # Errors
    /// Why the store cannot be read.
    pub(super) async fn oa_series(self: &Arc<Api>) -> Result<Arc<String>, String> {
        let api = Arc::clone(self);
        finished(async move { api.oa_series.get(super::exposition::oa_series(&api)).await }).await
    }
}

/// Has it done in a task of its own: who goes away in the middle does not have the next one begin anew.
async fn finished<T: Send + 'static>(
    work: impl Future<Output = Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => Err("counting ended in a fault of the program; please report this".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_it_is_counted_once_a_second_also_where_it_cannot_be() {
        let (counted, counts) = (Counted::default(), AtomicU32::new(0));
        let count = async || {
            let number = counts.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if number == 0 { Err("the disk hangs".to_owned()) } else { Ok(number) }
        };
        let (first, second) = tokio::join!(counted.get(count()), counted.get(count()));
        assert_eq!((&first, &second), (&Err("the disk hangs".to_owned()), &first));
        tokio::time::advance(FRESH - Duration::from_millis(1)).await;
        assert_eq!(counted.get(count()).await, first);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(counted.get(count()).await, Ok(Arc::new(1)));
        assert_eq!(counted.get(count()).await, Ok(Arc::new(1)));
    }
}
