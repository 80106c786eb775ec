//! `authorize`: a person is sent to Zalo, comes back, and the OA has a fresh token set.

use std::process::{Command, Stdio};
use std::time::Duration;

use url::Url;

use super::control::{self, Meanwhile};
use super::{Failure, OaArgument, complain, exit, print, refresh, source};
use crate::config::Config;
use crate::keeper::control::protocol::{Brought, Reply, Request};

/// How long Zalo may take to be asked for a set and whose it is.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    oa: OaArgument,
    /// Open the address in this machine's browser as well
    #[arg(long, conflicts_with_all = ["code", "callback_url"])]
    open: bool,
    /// Print the address and end; what the person comes back with is taken all the same
    #[arg(long, conflicts_with_all = ["code", "callback_url", "open", "timeout"])]
    no_wait: bool,
    /// Take this code, copied by hand from the address that Zalo sent the browser to; - reads it from stdin
    #[arg(long, value_name = "CODE", conflicts_with = "callback_url", allow_hyphen_values = true)]
    code: Option<String>,
    /// Take the whole address out of the browser's bar, for servers that no browser reaches; - reads it from stdin
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// How long to wait for the person, from 1s to 1h; what he comes back with later is taken all the same
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = refresh::parse_timeout)]
    timeout: Duration,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let oa_id = arguments.oa.oa_id().to_string();
    if let Some(brought) = brought(arguments)? {
        let request = Request::Bring { oa_id, brought };
        let reply = control::ask_at_length(&config.store_path, &request, PATIENCE)?;
        return print(&(control::words(reply)? + "\n"));
    }
    let mut opened = Ok(());
    let request = Request::Authorize { oa_id: oa_id.clone() };
    let reply = control::ask_until(&config.store_path, &request, arguments.timeout, |meanwhile| {
        match meanwhile {
            Meanwhile::Link(url) => {
                opened = print(&format!("{url}\n"));
                if arguments.no_wait {
                    return false;
                }
                if arguments.open {
                    open(url);
                }
                complain(
                    "open this address as an administrator of the OA, within ten minutes, and choose the OA; waiting",
                );
                true
            }
            Meanwhile::Words(text) => {
                complain(&format!("OA {oa_id}: {text}"));
                true
            }
        }
    });
    opened?;
    match reply? {
        Some(Reply::NotNow { text }) => Err(Failure::new(exit::NOT_NOW, text)),
        Some(reply) => print(&(control::words(reply)? + "\n")),
        None => Ok(()),
    }
}

/// What somebody came back with, where it is brought by hand.
fn brought(arguments: &Arguments) -> Result<Option<Brought>, Failure> {
    if let Some(code) = &arguments.code {
        return Ok(Some(Brought::Code(given(code)?)));
    }
    let Some(address) = &arguments.callback_url else { return Ok(None) };
    let address = given(address)?;
    let query = Url::parse(&address).ok().and_then(|url| url.query().map(str::to_owned));
    let query = query.ok_or_else(|| {
        let sentence = "this is not the address that Zalo sent the browser to; copy the whole of it, from https:// to its end";
        Failure::new(exit::USAGE, sentence)
    })?;
    Ok(Some(Brought::Query(query)))
}

/// The text itself, or the line on stdin.
fn given(text: &str) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text.trim().to_owned());
    }
    let (shown, bytes) = source::read(None)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(exit::FAILED, format!("{shown}: not text; give it as it was copied")))?;
    Ok(text.trim().to_owned())
}

/// Where there is no browser the person opens it himself.
fn open(url: &str) {
    let opening = Command::new("xdg-open")
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opening {
        complain(&format!("no browser can be opened here ({error}); open the address yourself"));
    }
}
