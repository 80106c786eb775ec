//! The pages that people see, as HTML in Vietnamese and English: text in, text out.
//!
//! What is shown is handed over; who may see it, where it is asked for and what a button does is for others (`api`, and
//! whoever takes consent). No text gets into a page but through [`html`], which escapes all of it. The pages have no script
//! and no style of their own: both are [assets], and [`Policy`] forbids everything else. Pure; may import `store` (its
//! types), `clock` and `id`.

pub mod assets;
pub mod consent;
mod html;
mod lang;
mod layout;
mod policy;
#[cfg(test)]
mod tests;
mod words;

pub use assets::Asset;
pub use lang::Lang;
pub use policy::Policy;
