//! The consumers' API of the real binary, as a program sees it that wants tokens.

#[path = "../harness/mod.rs"]
mod harness;

mod canary;
mod commands;
mod disturbance;
mod durability;
mod examples;
mod limits;
mod managing;
mod reading;
mod reporting;
mod rights;
mod storm;
mod watching;

use std::path::PathBuf;

use harness::http::{Request, Response, ask};
use harness::{Bench, Daemon};

/// The section that every test has, and what a test adds to it.
fn section(more: &str) -> String {
    format!("[api]\nsocket = \"api.sock\"\n{more}")
}

/// A daemon with an API and one healthy OA, 7, that is not due for hours.
async fn healthy() -> (Bench, Daemon) {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    bench.add_granted_oa("7").await;
    let daemon = bench.start().await;
    (bench, daemon)
}

impl Bench {
    fn api(&self) -> PathBuf {
        self.path("api.sock")
    }

    async fn get(&self, target: &str) -> Response {
        ask(&self.api(), Request::get(target)).await
    }

    async fn send(&self, method: &str, target: &str, body: &str) -> Response {
        ask(&self.api(), Request { method, target, headers: &[], body }).await
    }
}
