//! zalo-tokend
pub mod clock;
pub mod config;
pub mod id;
pub mod oauth;
pub mod rotation;
pub mod secret;
pub mod simulator;
pub mod store;
pub mod zalo;
