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
