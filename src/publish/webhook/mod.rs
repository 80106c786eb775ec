//! Events to HTTP servers: one task a `[[publish]]` with a `webhook`.
//!
//! What happens goes into the outbox in the store, and from there to the server until that answers 2xx: at least once, and
//! of one OA in order. What was said and did not come into the outbox, because the process died or the events came too
//! fast, is found by what the webhook was told last, and made up for. Nothing of this is written where there is no webhook.

mod client;
mod letter;
mod signature;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::trouble::Troubles;
use super::{Around, Section, UnusableClient, backoff, events};
use crate::clock::Time;
use crate::config::{self, Http};
use crate::failpoint;
use crate::id::OaId;
use crate::secret::Digest;
use crate::store::{Letter, StoreError, Waiting};
use crate::telemetry::feed::{FeedReader, Read};
use client::{Sent, Server};

/// How many letters of one webhook are under way at once.
const AT_ONCE: usize = 8;
/// How many events are put into the outbox together.
const READ: usize = 256;
/// How many OAs are looked at together for what was not told.
const PAGE: usize = 256;
/// How soon the store is asked again that did not answer well.
const STORE_AGAIN: Duration = Duration::from_secs(1);
/// How long a stop waits for the answers to what is under way.
const AT_A_STOP: Duration = Duration::from_secs(2);
/// How often it is said at most that letters are given up.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A webhook, and what it takes to reach it.
pub(super) struct Webhook {
    config: config::Webhook,
    key: Digest,
    server: Server,
}

impl Webhook {
    /// # Errors
    /// When no client can be made for it.
    pub(super) fn new(config: config::Webhook, http: &Http) -> Result<Webhook, UnusableClient> {
        Ok(Webhook { key: config.key(), server: Server::new(config.url.clone(), http)?, config })
    }

    /// Names it in the store.
    pub(super) fn key(&self) -> Digest {
        self.key
    }
}

type Settings = watch::Receiver<Arc<Section<Webhook>>>;

/// Tells the server of each event that comes, until there is no such webhook any more, or the daemon stops.
pub(super) async fn work(around: Around, settings: Settings, feed: FeedReader) {
    let posted = Notify::new();
    let given_up = GivenUp::default();
    let collecting =
        Collector { around: &around, settings: settings.clone(), posted: &posted, given_up: &given_up };
    let sending = Sender {
        around: &around,
        settings,
        posted: &posted,
        given_up: &given_up,
        under_way: BTreeSet::new(),
        running: JoinSet::new(),
        troubles: Troubles::default(),
    };
    tokio::join!(collecting.run(feed), sending.run());
}

/// Says now and then that letters were given up.
#[derive(Default)]
struct GivenUp(std::sync::Mutex<(u64, Option<Instant>)>);

impl GivenUp {
    fn note(&self, publisher: &str, letter: &Waiting, detail: &str) {
        let mut noted = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (count, said_at) = &mut *noted;
        *count += 1;
        if said_at.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
            events::dead_letter(publisher, letter.oa_id.as_ref(), &letter.delivery, *count, detail);
            (*count, *said_at) = (0, Some(Instant::now()));
        }
    }
}

/// Puts what happens into the outbox.
struct Collector<'w> {
    around: &'w Around,
    settings: Settings,
    posted: &'w Notify,
    given_up: &'w GivenUp,
}

impl Collector<'_> {
    async fn run(mut self, mut feed: FeedReader) {
        let key = self.settings.borrow_and_update().of.key;
        let begin = || self.around.store.begin_webhook(key, self.around.clock.now());
        if self.patiently(begin).await.is_none() || !self.make_up().await {
            return;
        }
        loop {
            tokio::select! {
                biased;
                read = feed.next(READ) => {
                    let went_on = match read {
                        Read::Events(events) => {
                            let letters = self.letters(&events);
                            self.post(letters).await
                        }
                        Read::Missed(count) => {
                            tracing::debug!(count, "events came too fast for a webhook, and are made up for");
                            self.make_up().await
                        }
                    };
                    if !went_on {
                        return;
                    }
                }
                () = self.around.stop.cancelled() => return,
                changed = self.settings.changed() => if changed.is_err() { return },
            }
        }
    }

    fn letters(&self, events: &[Arc<crate::telemetry::feed::Happening>]) -> Vec<Letter> {
        let section = self.settings.borrow();
        let is_about = |oa_id: Option<&str>| section.is_about(oa_id.map(OaId::from).as_ref());
        let events = events.iter().filter(|event| is_about(event.oa_id.as_deref()));
        let wanted = &section.of.config.events;
        events.filter_map(|event| letter::of_event(event, wanted, new_delivery)).collect()
    }

    /// Finds what the webhook was not told, and puts that into the outbox. `false`: it is time to end.
    async fn make_up(&mut self) -> bool {
        let mut after: Option<OaId> = None;
        loop {
            let key = self.settings.borrow().of.key;
            let read = || self.around.reader.untold(key, after.clone(), PAGE);
            let Some(page) = self.patiently(read).await else { return false };
            let Some(last) = page.last() else { return true };
            after = Some(last.oa_id.clone());
            let now = self.around.clock.now();
            let letters = {
                let section = self.settings.borrow();
                let wanted = &section.of.config.events;
                let page = page.iter().filter(|untold| section.is_about(Some(&untold.oa_id)));
                page.flat_map(|untold| letter::of_untold(untold, wanted, now, new_delivery)).collect()
            };
            if !self.post(letters).await {
                return false;
            }
        }
    }

    /// `false`: it is time to end.
    async fn post(&mut self, letters: Vec<Letter>) -> bool {
        if letters.is_empty() {
            return true;
        }
        failpoint::pass("publish.outbox.posting");
        let section = Arc::clone(&self.settings.borrow());
        let post = || self.around.store.post(section.of.key, letters.clone(), self.around.clock.now());
        let Some(dropped) = self.patiently(post).await else { return false };
        let detail = "too many wait for it, and the oldest go";
        dropped.iter().for_each(|letter| self.given_up.note(&section.name, letter, detail));
        self.posted.notify_one();
        true
    }

    /// Asks the store until it answers well. `None`: it is time to end.
    async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(error) => tracing::debug!(%error, "a webhook waits for the store"),
            }
            tokio::select! {
                () = tokio::time::sleep(STORE_AGAIN) => {}
                () = self.around.stop.cancelled() => return None,
            }
            if self.settings.has_changed().is_err() {
                return None;
            }
        }
    }
}

fn new_delivery() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Sends what is in the outbox.
struct Sender<'w> {
    around: &'w Around,
    settings: Settings,
    posted: &'w Notify,
    given_up: &'w GivenUp,
    /// The places of the letters that are under way.
    under_way: BTreeSet<i64>,
    running: JoinSet<(Waiting, Result<(), String>)>,
    troubles: Troubles,
}

impl Sender<'_> {
    async fn run(mut self) {
        loop {
            let wait = self.begin().await;
            tokio::select! {
                biased;
                () = self.around.stop.cancelled() => return self.finish().await,
                Some(ended) = self.running.join_next() => {
                    if let Ok((letter, outcome)) = ended {
                        self.conclude(letter, outcome).await;
                    }
                }
                changed = self.settings.changed() => if changed.is_err() { return },
                () = self.posted.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Hears what becomes of the letters under way. Those that are not answered soon are sent again by the next run.
    async fn finish(&mut self) {
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                if let Ok((letter, outcome)) = ended {
                    self.conclude(letter, outcome).await;
                }
            }
        };
        // What is not over by then is dropped.
        tokio::time::timeout(AT_A_STOP, all).await.ok();
    }

    /// Begins to send what is due, and says how long until there may be more.
    async fn begin(&mut self) -> Duration {
        let section = Arc::clone(&self.settings.borrow_and_update());
        let now = self.around.clock.now();
        let limit = 2 * AT_ONCE;
        let (due, next) = match self.around.reader.due_letters(section.of.key, limit, now).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "a webhook waits for the store");
                return STORE_AGAIN;
            }
        };
        for letter in due {
            if self.under_way.len() < AT_ONCE && self.under_way.insert(letter.seq) {
                let section = Arc::clone(&section);
                let now = self.around.clock.now();
                self.running.spawn(async move {
                    let outcome = send(&section.of, &letter, now).await;
                    (letter, outcome)
                });
            }
        }
        let longest = Duration::from_secs(60);
        next.map_or(longest, |next| next.since(now).min(longest)).max(Duration::from_millis(20))
    }

    async fn conclude(&mut self, letter: Waiting, outcome: Result<(), String>) {
        self.under_way.remove(&letter.seq);
        let section = Arc::clone(&self.settings.borrow());
        let (now, store) = (self.around.clock.now(), &self.around.store);
        let noted = match outcome {
            Ok(()) => {
                self.troubles.worked(&section.name, letter.oa_id.as_ref());
                store.settle_letter(section.of.key, letter.seq, now).await
            }
            Err(detail) => {
                let failures = letter.tries.saturating_add(1);
                let wait = backoff::of_webhook(failures, now.since(letter.queued_at), fastrand::f64());
                let next_at = wait.map(|wait| now.plus(wait));
                self.troubles.failed(&section.name, letter.oa_id.as_ref(), &detail, next_at);
                match next_at {
                    Some(next_at) => store.put_letter_off(letter.seq, next_at).await,
                    None => {
                        self.given_up.note(&section.name, &letter, &detail);
                        store.settle_letter(section.of.key, letter.seq, now).await
                    }
                }
            }
        };
        if let Err(error) = noted {
            // It stays due, and is sent again: at least once.
            tracing::debug!(%error, "the store does not note what became of a letter");
            tokio::time::sleep(STORE_AGAIN).await;
        }
    }
}

async fn send(webhook: &Webhook, letter: &Waiting, now: Time) -> Result<(), String> {
    let secret = webhook.config.secret.as_ref().ok_or("there is no secret to sign with")?;
    let signature = signature::sign(secret, now, &letter.body);
    let sent = Sent { body: &letter.body, signature: &signature, delivery: &letter.delivery };
    webhook.server.send(&sent).await
}
