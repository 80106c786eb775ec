//! What an administrator decides on the permission page: whether Zalo would ask at all, for which OA a code is made,
//! and where the browser is sent with it. The page itself is `permission`'s, what a code is worth `codes`'. May import
//! id and secret.

use std::collections::{BTreeSet, HashMap};

use url::Url;

use super::Simulator;
use super::connection::Head;
use super::kind::Kind;
use super::ledger::Subject;
use super::model::{Model, Presented};
use super::permission::PATH;
use super::shared::Locked;
use crate::id::{AppId, OaId};
use crate::secret::Secret;

/// Whose consent can be had, and where it may lead.
#[derive(Debug, Default)]
pub(super) struct Consents {
    /// The OAs of the one who opens an app's permission page.
    administered: HashMap<AppId, BTreeSet<OaId>>,
    /// An app that is not here may send the browser wherever it likes.
    redirect_uris: HashMap<AppId, Vec<String>>,
}

impl Consents {
    pub(super) fn administers(&mut self, app: AppId, oa: OaId) {
        self.administered.entry(app).or_default().insert(oa);
    }

    pub(super) fn register(&mut self, app: AppId, redirect_uri: String) {
        self.redirect_uris.entry(app).or_default().push(redirect_uri);
    }

    pub(super) fn administered(&self, app: &AppId) -> impl Iterator<Item = &OaId> {
        self.administered.get(app).into_iter().flatten()
    }

    fn may_lead_to(&self, app: &AppId, redirect_uri: &str) -> bool {
        self.redirect_uris.get(app).is_none_or(|known| known.iter().any(|uri| uri == redirect_uri))
    }
}

/// What a permission URL, or the form of its page, asks for. Whatever is missing is read as empty.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) app: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) state: Option<String>,
}

impl Asked {
    pub(super) fn read(urlencoded: &[u8]) -> Asked {
        let mut asked = Asked::default();
        for (name, value) in form_urlencoded::parse(urlencoded) {
            match name.as_ref() {
                "app_id" => asked.app = value.into_owned(),
                "redirect_uri" => asked.redirect_uri = value.into_owned(),
                "code_challenge" => asked.challenge = value.into_owned(),
                "state" => asked.state = Some(value.into_owned()),
                _ => {}
            }
        }
        asked
    }

    pub(super) fn app(&self) -> AppId {
        AppId::from(self.app.as_str())
    }
}

/// Why Zalo makes no code, with its error code where one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Option<i64>,
    pub(super) reason: &'static str,
}

/// Where the browser would be sent, if Zalo would ask for this.
pub(super) fn admit(locked: &Locked<'_>, asked: &Asked) -> Result<Url, Refusal> {
    let app = asked.app();
    if !locked.core.model.has_app(&app) {
        return Err(Refusal { code: Some(-14002), reason: "App id is invalid" });
    }
    let place = Url::parse(&asked.redirect_uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let place = place.filter(|_| locked.core.consents.may_lead_to(&app, &asked.redirect_uri));
    let place = place.ok_or(Refusal { code: Some(-14003), reason: "Redirect uri is invalid" })?;
    if asked.challenge.is_empty() {
        return Err(Refusal { code: None, reason: "Code challenge is missing" });
    }
    Ok(place)
}

/// Consent is given: makes a code, and says where the browser is sent with it.
pub(super) fn allow(
    locked: &mut Locked<'_>,
    connection: Option<u64>,
    asked: &Asked,
    oa: &OaId,
) -> Result<String, Refusal> {
    let mut place = admit(locked, asked)?;
    let app = asked.app();
    if !locked.core.consents.administered(&app).any(|other| other == oa) {
        return Err(Refusal { code: None, reason: "This Official Account is none of yours" });
    }
    let now = locked.now;
    let code = locked.core.model.new_code(app.clone(), oa.clone(), asked.challenge.clone(), now);
    let subject = Subject {
        oa_id: Some(oa.clone()),
        app_id: Some(app),
        token: Some(code.digest()),
        was_spent: Some(false),
        is_code: true,
        ..Subject::default()
    };
    locked.record(connection, &subject, Kind::CodeMade, None);
    place.query_pairs_mut().append_pair("oa_id", oa.as_str()).append_pair("code", code.expose());
    Ok(with_state(place, asked))
}

/// Consent is declined: says where the browser is sent.
pub(super) fn decline(
    locked: &mut Locked<'_>,
    connection: Option<u64>,
    asked: &Asked,
) -> Result<String, Refusal> {
    let mut place = admit(locked, asked)?;
    let subject = Subject { app_id: Some(asked.app()), ..Subject::default() };
    locked.record(connection, &subject, Kind::ConsentDeclined, None);
    place.query_pairs_mut().append_pair("error", "access_denied");
    Ok(with_state(place, asked))
}

fn with_state(mut place: Url, asked: &Asked) -> String {
    if let Some(state) = &asked.state {
        place.query_pairs_mut().append_pair("state", state);
    }
    place.into()
}

/// The code that stands in the URL of a request, where it is read by proxies and kept in logs.
pub(super) fn code_in_url(model: &Model, head: &Head) -> Option<Subject> {
    let query = head.query.as_deref().unwrap_or_default();
    let values = form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value.into_owned());
    let mut texts = values.chain(head.path.split('/').map(str::to_owned)).map(Secret::new);
    let of_code = |code: Secret, known: Presented| Subject {
        oa_id: Some(known.oa),
        app_id: Some(known.app),
        token: Some(code.digest()),
        was_spent: Some(known.spent),
        is_code: true,
        ..Subject::default()
    };
    texts.find_map(|text| model.recognise_code(&text).map(|known| of_code(text, known)))
}

impl Simulator {
    /// The permission page, to which the four parameters are added as a query.
    pub fn permission_url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// The app may send the browser here, and from now on nowhere else that was not registered.
    pub fn register_redirect_uri(&self, app_id: &str, redirect_uri: &str) {
        self.shared.lock().core.consents.register(AppId::from(app_id), redirect_uri.to_owned());
    }

    /// Whoever opens this app's permission page administers this OA, as he does all that the app was granted for.
    pub fn administers(&self, app_id: &str, oa_id: &str) {
        self.shared.lock().core.consents.administers(AppId::from(app_id), OaId::from(oa_id));
    }

    /// An administrator of this OA opens the permission URL and gives consent. Returns the address that his browser is
    /// sent to, which is not followed.
    ///
    /// # Panics
    /// When Zalo would not ask him: the URL is not as it should be.
    pub fn consent(&self, permission_url: &str, oa_id: &str) -> String {
        let oa = OaId::from(oa_id);
        sent_to(permission_url, |asked| {
            let mut locked = self.shared.lock();
            locked.core.consents.administers(asked.app(), oa.clone());
            allow(&mut locked, None, asked, &oa)
        })
    }

    /// Somebody opens the permission URL and declines. Returns the address that his browser is sent to.
    ///
    /// # Panics
    /// When Zalo would not ask him: the URL is not as it should be.
    pub fn decline(&self, permission_url: &str) -> String {
        sent_to(permission_url, |asked| decline(&mut self.shared.lock(), None, asked))
    }
}

#[expect(clippy::panic, reason = "a test that opens a URL that Zalo refuses must fail there")]
fn sent_to(permission_url: &str, decide: impl FnOnce(&Asked) -> Result<String, Refusal>) -> String {
    let url = match Url::parse(permission_url) {
        Ok(url) if url.path() == PATH => url,
        Ok(url) => panic!("Zalo has no permission page at {}, only at {PATH}", url.path()),
        Err(cause) => panic!("the permission URL is no URL: {cause}"),
    };
    match decide(&Asked::read(url.query().unwrap_or_default().as_bytes())) {
        Ok(place) => place,
        Err(Refusal { code: Some(code), reason }) => {
            panic!("Zalo refuses this permission URL: {reason} ({code})")
        }
        Err(Refusal { code: None, reason }) => panic!("Zalo refuses this permission URL: {reason}"),
    }
}
