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
            Failure::new(
                exit::FAILED,
                format!("{} cannot be listened on: {error}; give another address", arguments.listen),
            )
        })?;
        print(&setting_up(&simulator))?;
        stopped().await?;
        let summary = simulator.ledger().summary();
        simulator.shutdown().await;
        print(&summary)
    })
}

/// The addresses, as the config has them, and what to ask of the simulator first.
fn setting_up(simulator: &Simulator) -> String {
    let base = format!("http://{}", simulator.addr());
    let mut text = format!(
        "token_url = \"{}\"\napi_url = \"{}\"\n# permission page: {}\n# vendor: base_url = \"{}\"\n",
        simulator.token_url(),
        simulator.api_url(),
        simulator.permission_url(),
        simulator.vendor_url(),
    );
    for (what, body, path) in [
        ("app:", r#"{"app_id":"1","secret_key":"s"}"#, "apps"),
        ("grant:", r#"{"app_id":"1","oa_id":"7"}"#, "grants"),
        ("consent:", r#"{"app_id":"1","oa_id":"8"}"#, "administered"),
        ("fault:", r#"{"times":1,"fault":"reset_at_accept"}"#, "faults"),
        ("", r#"{"oa_id":"7","fault":{"after_request":{"spend":"yes","answer":"reset"}}}"#, "faults"),
        ("vendor:", r#"{"key":"k"}"#, "vendor/keys"),
        ("", r#"{"oa_id":"9","name":"Shop","expires_at":"2030-01-01T00:00:00Z"}"#, "vendor/oas"),
        ("", r#"{"times":1,"fault":{"answer":{"status":503}}}"#, "vendor/faults"),
    ] {
        text.push_str(&format!("# {what:<9}curl -d '{body}' {base}/_simulator/{path}\n"));
    }
    text.push_str(&format!("# ledger:  curl {base}/_simulator/ledger.txt\n"));
    text
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
