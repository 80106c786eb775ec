//! A Zalo of our own, with a ledger and faults.
//!
//! It plays Zalo's permission page, its token endpoint and the question that an access token is asked with, and a vendor
//! that holds OAs for others, over real TCP and an HTTP/1.1 server of its own that can reset, cut, stall and drip where
//! a library could not. A [`Rule`] says what
//! goes wrong and for whom, a [`Variant`] how this Zalo behaves where nobody knows how the real one does, and the
//! [`Ledger`] keeps what a client did and judges it, above all by invariant I3: no refresh token is presented
//! again without a proof that it is unspent.
//!
//! `model` knows the tokens, `token_endpoint` and `answer` serve them, `consent` and `permission` make codes, `vendor` is
//! the vendor, `probe`, `message` and `control` are the rest, `server` holds the doors. May import clock, secret and id, and nothing else of ours. It logs nothing.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::id::{AppId, OaId};
use crate::secret::{Digest, Secret};

mod answer;
mod codes;
mod connection;
mod consent;
mod control;
mod duration;
mod fault;
mod fault_queue;
mod html;
mod judgement;
mod kind;
mod ledger;
mod message;
mod model;
mod permission;
mod probe;
mod server;
mod shared;
mod simulate;
mod summary;
mod token_endpoint;
mod token_request;
mod variant;
mod vendor;

#[cfg(test)]
mod tests;

pub use fault::{Answer, Body, Ending, Fault, Length, Rule, Spend, Times};
pub use judgement::{LostAnswer, Settlement};
pub use kind::{Kind, ProbeVerdict, Said, VendorQuestion};
pub use ledger::{Entry, Ledger, Subject};
pub use message::Messages;
pub use model::{CurrentSet, MARKER};
pub use variant::{OldAccessToken, ProbeAnswer, SpentCodeAnswer, SpentTokenAnswer, Variant};
pub use vendor::fault::{VendorAnswer, VendorData, VendorFault, VendorRule};

use model::AccessToken;
use server::Door;
use shared::Shared;

/// A running simulator. Dropped, it ends everything it began.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    api_address: SocketAddr,
    /// The task that holds the token endpoint's listener, while there is one.
    token_door: Mutex<Option<JoinHandle<()>>>,
}

impl Simulator {
    /// Listens and serves on the current tokio runtime, until dropped or shut down.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    #[expect(clippy::unused_async, reason = "it must be called on a runtime, and says so by being async")]
    pub async fn start(listen: SocketAddr, variant: Variant) -> io::Result<Simulator> {
        let token_listener = server::listen(listen)?;
        let address = token_listener.local_addr()?;
        let api_listener = server::listen(SocketAddr::new(address.ip(), 0))?;
        let api_address = api_listener.local_addr()?;
        let shared = Arc::new(Shared::new(format!("http://{api_address}{}", server::REDIRECT_PATH)));
        shared.lock().core.model.variant = variant;
        let token_door = server::accept(&shared, token_listener, Door::Tokens);
        drop(server::accept(&shared, api_listener, Door::Api));
        Ok(Simulator { shared, address, api_address, token_door: Mutex::new(Some(token_door)) })
    }

    /// The address that was asked for, with the port that it got. All paths are served here.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("http://{}{}", self.address, server::TOKEN_PATH)
    }

    /// Where probes go, without a path: another port, which stays up when the token endpoint goes down, and which
    /// no fault at accept concerns.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api_address)
    }

    /// Adds an app, or gives it another secret.
    pub fn add_app(&self, app_id: &str, secret: &str) {
        self.shared.lock().core.model.add_app(AppId::from(app_id), Secret::new(secret.to_owned()));
    }

    /// Consent is given: a new family of tokens, as a token response in Zalo's own words.
    pub fn grant(&self, app_id: &str, oa_id: &str) -> Value {
        self.grant_aged(app_id, oa_id, Duration::ZERO)
    }

    /// The same, given so long ago. The lives told are those that were told then.
    pub fn grant_aged(&self, app_id: &str, oa_id: &str, age: Duration) -> Value {
        simulate::grant(&self.shared, AppId::from(app_id), OaId::from(oa_id), age)
    }

    /// Puts a fault into the queue.
    ///
    /// # Panics
    /// When the rule could never be carried out: an OA named for a fault at accept, or a status below 200.
    #[expect(
        clippy::panic,
        reason = "a test that asks for the impossible must fail there, not pass silently"
    )]
    pub fn fault(&self, rule: Rule) {
        if let Some(objection) = rule.objection() {
            panic!("{objection}");
        }
        self.shared.lock().core.faults.add(rule);
    }

    /// Forgets all faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.shared.lock().core.faults.clear();
    }

    /// Forgets the faults of this OA alone that have not happened yet.
    pub fn clear_faults_of(&self, oa_id: &str) {
        self.shared.lock().core.faults.clear_of(&OaId::from(oa_id));
    }

    /// Behaves like this from now on.
    pub fn set_variant(&self, variant: Variant) {
        self.shared.lock().core.model.variant = variant;
    }

    /// Changes the behaviour from now on.
    pub fn with_variant(&self, change: impl FnOnce(&mut Variant)) {
        change(&mut self.shared.lock().core.model.variant);
    }

    /// The ledger as it stands.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger()
    }

    /// Waits until the ledger is as wanted; looks at it now and after every entry.
    ///
    /// The predicate runs under the simulator's lock: it must look at nothing but the ledger.
    ///
    /// # Errors
    /// When the deadline passes first; the error shows the ledger as it stood then.
    pub async fn wait_until(
        &self,
        is_as_wanted: impl Fn(&Ledger) -> bool,
        deadline: Duration,
    ) -> Result<Ledger, DeadlinePassed> {
        let mut changes = self.shared.changes();
        let wanted = async {
            loop {
                changes.mark_unchanged();
                {
                    let locked = self.shared.lock();
                    if is_as_wanted(&locked.core.ledger) {
                        return locked.core.ledger.clone();
                    }
                }
                // The sender lives as long as this borrow of the simulator.
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(deadline, wanted)
            .await
            .map_err(|_| DeadlinePassed { deadline, ledger: self.ledger() })
    }

    /// Lets every answer go that is held at this moment.
    pub fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// An operator decided that this refresh token or code may be presented once more.
    pub fn allow(&self, refresh_token: Digest) {
        simulate::allow(&mut self.shared.lock(), refresh_token);
    }

    /// The same for what the OA presented last, refresh token or code; `false` if it has presented nothing.
    pub fn allow_last_presented(&self, oa_id: &str) -> bool {
        simulate::allow_last_presented(&self.shared, &OaId::from(oa_id))
    }

    /// The token endpoint refuses connections from now on; those that stand go on. The API stays up.
    pub async fn go_down(&self) {
        let door = self.token_door.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(door) = door {
            door.abort();
            // Aborted is how it should end; it is awaited for the listener to be gone.
            door.await.unwrap_or_default();
        }
    }

    /// The token endpoint takes connections again, on the same port.
    ///
    /// # Errors
    /// When somebody else took the port meanwhile.
    #[expect(clippy::unused_async, reason = "it must be called on a runtime, and says so by being async")]
    pub async fn come_up(&self) -> io::Result<()> {
        let mut door = self.token_door.lock().unwrap_or_else(PoisonError::into_inner);
        if door.is_none() {
            let listener = server::listen(self.address)?;
            *door = Some(server::accept(&self.shared, listener, Door::Tokens));
        }
        Ok(())
    }

    /// The OA's latest token set, whether or not anybody got it; `None` if it was never granted one.
    pub fn current_set(&self, oa_id: &str) -> Option<CurrentSet> {
        self.shared.lock().core.model.current_set(&OaId::from(oa_id))
    }

    /// The OA's access token is dead from now on, as when an administrator removed it; `false`: it has none.
    pub fn kill_access_token(&self, oa_id: &str) -> bool {
        self.shared.lock().core.model.kill_access_token(&OaId::from(oa_id))
    }

    /// What became of the OA's messages so far.
    pub fn messages(&self, oa_id: &str) -> Messages {
        self.shared.lock().core.messages.get(oa_id).copied().unwrap_or_default()
    }

    /// Whether this access token is good at this moment.
    pub fn is_valid_access_token(&self, access_token: &str) -> bool {
        let locked = self.shared.lock();
        let token = Secret::new(access_token.to_owned());
        locked.core.model.access_token(&token, locked.now).0 == AccessToken::Good
    }

    /// Ends all connections and tasks, and waits for their end.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The ledger was not as wanted in time.
pub struct DeadlinePassed {
    /// How long it was waited.
    pub deadline: Duration,
    /// The ledger at the end.
    pub ledger: Ledger,
}

impl fmt::Display for DeadlinePassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waited = humantime::format_duration(self.deadline);
        writeln!(f, "the ledger was not as wanted within {waited}:")?;
        f.write_str(&self.ledger.summary())
    }
}

/// For `expect` in tests: the summary, and the last entries.
impl fmt::Debug for DeadlinePassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        let entries = self.ledger.entries();
        let last = &entries[entries.len().saturating_sub(30)..];
        last.iter().try_for_each(|entry| writeln!(f, "{entry:?}"))
    }
}

impl std::error::Error for DeadlinePassed {}
