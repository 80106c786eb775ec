//! OAs that a vendor holds: what is asked of him, what his answers mean, and when he is asked.
//!
//! A CPaaS vendor keeps the tokens of such an OA himself. What he gives is a link at which the OA's administrator grants
//! consent again, and, in one style, how the OA stands. All rules are pure: time and dice are arguments. Only [`Door`] does
//! IO. What is kept of an OA, and events, are others' matter. May import `rotation`, `http`, `clock`, `id` and `secret`.

mod answer;
mod course;
mod door;
mod link;
mod request;
mod said;
pub mod terms;

pub use answer::{Answer, Outcome, Shop, ShopAnswer, ShopOutcome, Status, read_link, read_shop};
pub use course::{Course, End, Given, Link, Need, ShopNews, Trouble};
pub use door::{Door, Reply};
pub use link::{Hosts, check_link};
pub use request::{Question, Request, request};
pub use said::Said;
pub use terms::{Style, Terms, VendorOa, VendorOas};
