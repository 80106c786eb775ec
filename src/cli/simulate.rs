//! `simulate`: the Zalo simulator alone.

use std::net::SocketAddr;

use super::{Failure, exit, print, runtime};
use crate::simulator::{Simulator, Variant};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to listen, as 127.0.0.1:8080; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.listen.ip().is_loopback() {
        let sentence = "the simulator hands out tokens to anybody who asks; give --listen a loopback address such as 127.0.0.1:8080";
        return Err(Failure::new(exit::FAILED, sentence));
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let simulator = Simulator::start(arguments.listen, Variant::default()).await.map_err(|error| {
            Failure::new(exit::FAILED, format!("{} cannot be listened on: {error}; give another address", arguments.listen))
        })?;
        let base = format!("http://{}", simulator.addr());
        print(&format!(
            "token_url = \"{}\"\napi_url = \"{}\"\n# app:    curl -d '{{\"app_id\":\"1\",\"secret_key\":\"s\"}}' {base}/_simulator/apps\n\
             # grant:  curl -d '{{\"app_id\":\"1\",\"oa_id\":\"7\"}}' {base}/_simulator/grants\n\
             # fault:  curl -d '{{\"times\":1,\"fault\":\"reset_at_accept\"}}' {base}/_simulator/faults\n\
             #         curl -d '{{\"oa_id\":\"7\",\"fault\":{{\"after_request\":{{\"spend\":\"yes\",\"answer\":\"reset\"}}}}}}' {base}/_simulator/faults\n\
             # ledger: curl {base}/_simulator/ledger.txt\n",
            simulator.token_url(),
            simulator.api_url(),
        ))?;
        stopped().await?;
        let summary = simulator.ledger().summary();
        simulator.shutdown().await;
        print(&summary)
    })
}

/// Resolves at SIGTERM or SIGINT.
async fn stopped() -> Result<(), Failure> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    std::thread::spawn(move || {
        let signal = signals.forever().next();
        tell.send(signal)
    });
    told.await.map(|_| ()).map_err(|_| Failure::new(exit::FAILED, "signals cannot be listened to"))
}
