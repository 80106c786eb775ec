//! A token response that a person brings: what `import` reads, and what the store makes of it.

use std::cell::RefCell;
use std::path::PathBuf;

use tempfile::TempDir;
use zalo_tokend::clock::{Clock, Moment, SystemClock};
use zalo_tokend::id::{AppId, OaId};
use zalo_tokend::oauth::GrantedTokens;
use zalo_tokend::oauth::whole_set;
use zalo_tokend::rotation::Timing;
use zalo_tokend::store::{Direct, Import, Imported, TokenAnswer};

use super::{assert_plain, token_answer};

/// A store that takes in one input after the other.
struct Place {
    _directory: TempDir,
    path: PathBuf,
    store: Direct,
}

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

pub fn check(body: &[u8]) {
    match whole_set(body) {
        Err(what) => assert_plain(&what),
        Ok(tokens) => {
            assert!(tokens.access_token.is_some() && tokens.refresh_token.is_some(), "half a set");
            token_answer::assert_granted(&tokens);
            PLACE.with_borrow_mut(|place| place.get_or_insert_with(Place::new).take_in(tokens));
        }
    }
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.db");
        let store = Direct::open_to_write(&path).expect("a store");
        Place { _directory: directory, path, store }
    }

    /// The first of two equal imports may change something, the second does not; and nobody else gets the set.
    fn take_in(&mut self, tokens: GrantedTokens) {
        let digest = tokens.refresh_token.as_ref().expect("checked").digest();
        let name: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let (oa_id, access_token) = (OaId::from(name), tokens.access_token.clone());
        let first = self.import(&oa_id, tokens.clone());
        assert!(
            matches!(first, Imported::Adopted { generation: 1, .. } | Imported::Unchanged { .. }),
            "{first:?}"
        );
        assert_eq!(self.import(&oa_id, tokens.clone()), Imported::Unchanged { generation: 1 });
        assert_eq!(self.import(&OaId::from("another"), tokens), Imported::OfAnotherOa(oa_id.clone()));
        // Of the same refresh token the first access token counts; one that lives seconds may have ended.
        let seen = Direct::open_to_read(&self.path).expect("readable").token(
            &[].into(),
            &oa_id,
            &SystemClock::new().read(),
        );
        if let (Ok(TokenAnswer::Valid(valid)), Imported::Adopted { .. }) = (seen, first) {
            assert_eq!(Some(valid.access_token), access_token);
        }
    }

    fn import(&mut self, oa_id: &OaId, tokens: GrantedTokens) -> Imported {
        let now = SystemClock::new().read();
        let (oa_id, app_id, obtained) = (oa_id.clone(), AppId::from("app"), Moment::at(&now));
        let import = Import { oa_id, app_id, name: None, tokens, obtained };
        self.store.import(&import, &Timing::default(), &now).expect("taken in")
    }
}
