//! zalo-tokend keeps the tokens of Zalo Official Accounts alive: the map of the house.
//!
//! Zalo's refresh token can be used once. The request that uses it kills the old access token and the old refresh
//! token at once, and its answer is the only copy of their successors. Everything here is built around that
//! answer: no refresh token is presented again without proof that it is unspent, and no answer that reached us is
//! lost.
//!
//! # The life of a refresh
//!
//! Data flows one way, and each step has one room:
//!
//! ```text
//!  sweep ──► claim ──► present ───────────────► conclude ──► publish
//!  what is   one per   connect, send all but     one          tell the log
//!  due, and  OA        the last byte; row        transaction: and whoever
//!  how does            re-read, journalled       token set +  asks
//!  it stand? (keeper)  durably; release the      verdict +
//!  (store)             last byte, read the       next plan
//!                      whole answer
//!
//!  keeper    keeper    zalo, store               rotation,    keeper,
//!                                                store        publish
//! ```
//!
//! An attempt that passed the gate and has no verdict leaves its OA *uncertain*, durably. Zalo is then asked with
//! the old access token, which dies the moment a successor is made: that is the proof. So that a sick endpoint costs
//! few tokens, each app has a window and a brake (`rotation::window`) through which every attempt has to go.
//!
//! # The rooms
//!
//! | room | what it does |
//! |---|---|
//! | [`cli`] | the commands: each reads arguments, calls the rooms that know, and prints |
//! | [`keeper`] | the daemon: sweep, claim, attempt, questions, recovery, reload, the control socket, the log's events, signals, systemd |
//! | [`publish`] | tokens in files, events to programs and servers: it reads what is durable, and no refresh waits for it |
//! | [`api`] | the consumers' API: tokens and states over a socket, who may do what, and reports of what was refused; what only the keeper can do it asks of him |
//! | [`authorize`] | where people come with their consent: the address that Zalo sends them back to, and our own links; what comes of it he asks the keeper |
//! | [`page`] | pure: what people see in a browser, as HTML in two languages, out of which no text breaks |
//! | [`web`] | what any HTTP server here needs: who is at the other end, how many connections there are, how often one may ask |
//! | [`store`] | SQLite: one synchronous function a transaction; the spill slots |
//! | [`zalo`] | the door to Zalo: the token endpoint behind its gate, and the question |
//! | [`vendor`] | OAs that a vendor holds: pure words and rules of when he is asked for a link, and the door to him |
//! | [`http`] | HTTP clients of which nothing re-sends, follows, pools or detours, and their failures in words |
//! | [`rotation`] | pure: what to do next, what an exchange means, what a proof is |
//! | [`oauth`] | pure: Zalo's words, in forms and in answers |
//! | [`config`] | the config file: read, checked as a whole, every problem told at once |
//! | [`simulator`] | a Zalo and a vendor of our own, with faults and a ledger that judges a client |
//! | [`telemetry`] | how log lines get to stderr |
//! | [`clock`], [`secret`], [`id`] | time, tokens and names, for all the others |
//! | [`failpoint`] | where tests end the program; in no build but theirs |
//!
//! # The import rule
//!
//! Arrows point one way, and `tests/structure.rs` holds them:
//!
//! ```text
//!  cli ──► keeper ──► store ──┬──► rotation ──► oauth ──► secret, id
//!   │        │    └─► zalo  ──┘       │                        ▲
//!   │        ├──────► config ─────────┤ (rotation::timing)     │
//!   │        ├──────► telemetry       └──────► clock           │
//!   │        └──────► api, publish ──► store, config, telemetry, page, web, …
//!   └──────► simulator ──► clock, secret, id ──────────────────┘
//! ```
//!
//! `cli` may import everything, `keeper` everything but `cli` and `simulator`. `store` and `zalo` do not know each
//! other. `config` imports `clock`, `secret`, `id`, `rotation::timing`, `vendor::terms`, `oauth::is_verifier` and
//! `http::is_loopback`; `simulator` imports `clock`, `secret` and `id`; `api` and `publish` import `store`, `config`,
//! `telemetry` and what lies below them, and know neither each other nor the keeper; `authorize` imports `config`, `oauth`
//! and what lies below them, and `api` of it why nobody is sent to consent; both answer through `web`, which imports
//! `secret`, and show people what `page` writes, which imports `store`, `clock` and `id`; `store` knows `vendor`, which
//! imports `rotation`, `http`, `clock`, `id` and `secret`; `telemetry` imports `clock`; `http`, `clock`, `secret`, `id` and
//! `failpoint` import nothing of ours; `zalo`, `vendor` and `publish` speak through `http`. `keeper`, `publish`, `store`
//! and `zalo` have failpoints. `oauth`, `rotation` and `vendor`, but for its door, do no IO, read no clock and roll no
//! dice: the time and every roll are arguments.
//!
//! # Where to begin reading
//!
//! [`rotation`] has the diagram of the states. The source of `zalo::gate` says why the last byte waits, and the
//! source of `keeper::attempt` is one refresh from beginning to end. `store::recovery` is the same for a program
//! that died in the middle of it.
//!
//! # The invariants
//!
//! Named in code and tests by these numbers. The simulator's ledger judges them, not the daemon's own word.
//!
//! - **I1** No last byte of a request leaves before its attempt is durable.
//! - **I2** At most one request per OA is under way, over tasks, reloads, commands and processes.
//! - **I3** A refresh token is presented at most once, unless a recorded proof that it is unspent stands between.
//! - **I4** A token set that reached this process is never lost while any copy can be written, and never
//!   overwritten by an older one. No error path deletes a token.
//! - **I5** Only what is durable, in store or slot, is published or logged as succeeded. A set that neither would take
//!   is handed out only by the daemon itself, marked as not durable.
//! - **I6** One HTTP request per attempt on the wire: no redirects, no retries of the client's own, no reused
//!   connection, HTTP/1.1, no proxy unless configured.
//! - **I7** Nothing between the gate and the verdict can be cancelled, not by a stop, a reload, a caller who went away
//!   or a panic; a stop bars the gates that are still shut.
//! - **I8** Every state has a next action, or a person named in the log.
//! - **I9** No secret in a log, error, panic, `Debug`, argument, environment or world-readable file.
//! - **I10** A still valid access token is handed out in every state, and one bad OA delays no other.

pub mod api;
pub mod authorize;
pub mod cli;
pub mod clock;
pub mod config;
pub mod failpoint;
pub mod http;
pub mod id;
pub mod keeper;
pub mod oauth;
pub mod page;
pub mod publish;
pub mod rotation;
pub mod secret;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod vendor;
pub mod web;
pub mod zalo;
