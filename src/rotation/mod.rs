//! What to do next.
pub mod timing;
pub use timing::{Timing, Unprovable};
