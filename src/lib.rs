//! zalo-tokend
pub mod cli;
pub mod clock;
pub mod config;
pub mod id;
pub mod keeper;
pub mod oauth;
pub mod rotation;
pub mod secret;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod zalo;
