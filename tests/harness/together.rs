//! The same for each of many cases, in benches of their own, some of them at once.

use tokio::task::JoinSet;

/// How many go on at once.
const TOGETHER: usize = 4;

/// Runs all of them and returns what each came to, in the order in which they ended.
pub async fn at_each<C, T, R>(cases: impl IntoIterator<Item = C>, run: fn(C) -> T) -> Vec<R>
where
    T: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let (mut running, mut ended) = (JoinSet::new(), Vec::new());
    for case in cases {
        if running.len() == TOGETHER {
            ended.push(running.join_next().await.expect("some run").expect("it holds"));
        }
        running.spawn(run(case));
    }
    while let Some(one) = running.join_next().await {
        ended.push(one.expect("it holds"));
    }
    ended
}

/// Awaits all of them at once and returns what each came to, in their order.
pub async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut are_done = true;
        for (future, done) in &mut pending {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => are_done = false,
                }
            }
        }
        if are_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, done)| done).collect()
}
