//! What the API asks of the keeper: everything that is not a look at what is durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use url::Url;

use crate::authorize::NoConsent;
use crate::clock::Time;
use crate::id::{AppId, Fleet, Managed, OaId, VendorId};
use crate::oauth::GrantedTokens;
use crate::secret::Secret;
use crate::store::{Held, Imported, StoreError, ValidToken};

/// A future that borrows the desk.
pub type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// What came of a refresh that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A newer set is durable.
    Refreshed,
    /// It was tried and failed; the refresh token is unspent. In words.
    Failed(String),
    /// It cannot be tried, or nobody knows what came of it. In words that say what to do.
    NotNow(String),
}

/// On what occasion an OA is to be refreshed before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// An administrator wants it.
    Order,
    /// Zalo refuses its access token. Of an app whose credentials are refused it is no trial.
    Refused,
    /// Somebody who reads wants more life than there is left. Where a retry is planned, he waits as all do.
    TooOld,
}

/// What a probe says of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alive {
    /// Zalo accepts it.
    Yes,
    /// Zalo refuses it.
    No,
    /// That could not be found out. In words.
    Unclear(String),
}

/// What became of the wish to manage an OA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enlisted {
    /// It is managed now.
    Done,
    /// The config has it.
    InConfig,
    /// The config does not have its app.
    NoSuchApp,
}

/// What became of the wish not to manage an OA any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissed {
    /// It is not managed any more; its tokens stay in the store.
    Done,
    /// The config has it.
    InConfig,
    /// Nobody manages it.
    Unknown,
}

/// The keeper, as the API sees it.
pub trait Desk: Send + Sync + 'static {
    /// The OA as the config has it, or a program; `None`: nobody manages it.
    fn managed(&self, oa_id: &OaId) -> Option<Managed>;

    /// The vendor who holds this OA; `None`: no vendor does.
    fn vendor_of(&self, oa_id: &OaId) -> Option<VendorId>;

    /// The OAs of the config that apps hold.
    fn fleet(&self) -> Arc<Fleet>;

    /// The access token of a set that no disk has taken yet.
    fn undurable(&self, oa_id: &OaId) -> Option<ValidToken>;

    /// The `appsecret_proof` of this OA's access token; `None`: the config does not have its app.
    fn appsecret_proof(&self, oa_id: &OaId, access_token: &Secret) -> Option<String>;

    /// Where consent for this OA is given; `None`: no link leads there.
    fn consent_link(&self, oa_id: &OaId) -> Option<String>;

    /// Since when the daemon runs.
    fn started_at(&self) -> Time;

    /// How the store fails to take writes; `None`: it takes them.
    fn store_failure(&self) -> Option<String>;

    /// Has the OA refreshed now, if it still has this generation or none is named, and says what came of it. Who stops
    /// waiting changes nothing.
    fn refresh(&self, oa_id: OaId, generation: Option<u64>, occasion: Occasion) -> BoxFuture<'_, Asked>;

    /// Asks Zalo whether this access token lives.
    fn probe(&self, oa_id: OaId, held: Arc<Held>) -> BoxFuture<'_, Alive>;

    /// Manages an OA from now on, for a program.
    fn enlist(
        &self,
        oa_id: OaId,
        app_id: AppId,
        name: Option<String>,
    ) -> BoxFuture<'_, Result<Enlisted, StoreError>>;

    /// Manages it no more.
    fn dismiss(&self, oa_id: OaId) -> BoxFuture<'_, Result<Dismissed, StoreError>>;

    /// Begins a consent for the OA, and says where a browser goes to give it. Who stops waiting changes nothing.
    fn consent(&self, oa_id: OaId) -> BoxFuture<'_, Result<Url, NoConsent>>;

    /// The origins of all addresses that [`Desk::consent`] may say, as `https://oauth.zaloapp.com`.
    fn consent_origins(&self) -> Vec<String>;

    /// Takes in a set that somebody brings for an OA that is managed. `None`: it is not.
    fn import(
        &self,
        oa_id: OaId,
        tokens: GrantedTokens,
    ) -> BoxFuture<'_, Result<Option<Imported>, StoreError>>;
}
