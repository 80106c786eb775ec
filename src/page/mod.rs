//! The pages that people see, as HTML in Vietnamese and English: text in, text out.
//!
//! What is shown is handed over; who may see it, where it is asked for and what a button does is for others (`api`, and
//! whoever takes consent). No text gets into a page but through `html`, which escapes all of it. The pages have no script
//! and no style of their own: both are [assets], and [`Policy`] forbids everything else. Pure; may import `store` (its
//! types), `clock` and `id`.

pub mod assets;
pub mod consent;
mod home;
mod html;
mod lang;
mod layout;
mod listed;
mod login;
mod one;
mod policy;
mod standing;
#[cfg(test)]
mod tests;
mod words;

pub use assets::Asset;
pub use home::{Home, home};
pub use lang::{Lang, cookie};
pub use listed::Listed;
pub use login::{Trouble, login, trouble};
pub use one::one;
pub use policy::Policy;

use crate::clock::Time;

/// Who looks at a page.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'v> {
    /// What he reads.
    pub lang: Lang,
    /// When he does.
    pub now: Time,
    /// What the forms of his page are known by.
    pub csrf: &'v str,
    /// Does he have a session, which he can end?
    pub has_session: bool,
    /// The events after which the page is looked at anew.
    pub events: &'v [&'v str],
}
