//! `demo`, as somebody sees it who tries the program for the first time, and what monitoring makes of such a log: one demo
//! of full length serves both.

mod acts;
#[path = "../events/mod.rs"]
mod events;
#[path = "../harness/mod.rs"]
mod harness;
mod monitoring;
#[path = "../source_files/mod.rs"]
mod source_files;

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}
