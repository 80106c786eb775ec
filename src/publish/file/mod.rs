//! Tokens in files: one task a `[[publish]]` with a `file`.
//!
//! Three things bring a file about: its OA has a newer durable set, it could not be written before, or a **round** comes by,
//! which looks at every file after a start, a reload, and whenever an OA comes or goes. A newer set goes first: a round is
//! made in steps of a few milliseconds. What the round read of an OA that got a newer set meanwhile is not used.
//!
//! A path is noted in the store before its file is made. By that each round finds what is ours and not wanted any more.

mod cleaning;
mod content;
mod place;
mod together;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::agenda::Agenda;
use super::backoff;
use super::trouble::Troubles;
use super::{Around, Section};
use crate::config::TokenFile;
use crate::id::OaId;
use crate::store::{PublishedFile, StoreError};
pub(super) use cleaning::remove_foreign;
use place::Wanted;
use together::{How, Put, Removed};

/// How many files are written before the next look at what else there is to do.
const TOGETHER: usize = 16;
/// How many rows a round reads at once.
const PAGE: usize = 256;
/// How soon a round goes on when the store could not be read.
const ROUND_AGAIN: Duration = Duration::from_secs(1);

/// Publishes until there is no such publisher any more, or the daemon stops.
pub(super) async fn work(around: Around, mut settings: watch::Receiver<Arc<Section<TokenFile>>>) {
    let mut scope = around.scope.clone();
    // Before the first round, so that nothing is missed.
    let mut changes = around.reader.changes().subscribe();
    let section = settings.borrow_and_update().clone();
    let mut worker = Worker {
        around,
        section,
        noted: HashSet::new(),
        fresh: None,
        troubles: Troubles::default(),
        failures: BTreeMap::new(),
        again: Agenda::default(),
    };
    let mut round = Some(Round::default());
    loop {
        worker.is_going_round(round.is_some());
        let retry = worker.again.next();
        tokio::select! {
            biased;
            changed = changes.next() => worker.publish(changed, How::IfOther).await,
            () = worker.around.stop.cancelled() => return,
            changed = settings.changed() => {
                if changed.is_err() {
                    return;
                }
                worker.section = settings.borrow_and_update().clone();
                round = Some(Round::default());
            }
            changed = scope.changed() => {
                if changed.is_err() {
                    return;
                }
                round = Some(Round::default());
            }
            () = tokio::time::sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                worker.retry().await;
            }
            () = due(&round), if round.is_some() => {
                if let Some(current) = round.take() {
                    round = worker.step(current).await;
                }
            }
        }
    }
}

async fn due(round: &Option<Round>) {
    if let Some(not_before) = round.as_ref().and_then(|round| round.not_before) {
        tokio::time::sleep_until(not_before).await;
    }
}

struct Worker {
    around: Around,
    section: Arc<Section<TokenFile>>,
    /// The OAs whose path is noted.
    noted: HashSet<OaId>,
    /// The OAs that got a newer set since the round read its page; `None`: no round is made.
    fresh: Option<HashSet<OaId>>,
    troubles: Troubles,
    /// How often what is to be done for an OA failed.
    failures: BTreeMap<OaId, u32>,
    again: Agenda<OaId>,
}

/// How far a round has come.
#[derive(Default)]
struct Round {
    stage: Stage,
    /// What is still to be looked at of the page that was read.
    files: VecDeque<Wanted>,
    /// What is still to be removed of it.
    unwanted: VecDeque<OaId>,
    not_before: Option<Instant>,
}

enum Stage {
    /// Looking for files that are not wanted any more, after this path.
    Noted(String),
    /// Looking at the files of the OAs after this one.
    Wanted(Option<OaId>),
    /// All pages are read.
    Ended,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::Noted(String::new())
    }
}

impl Worker {
    fn is_wanted(&self, oa_id: &OaId) -> bool {
        self.section.is_about(Some(oa_id)) && self.around.scope.borrow().has(oa_id)
    }

    fn is_going_round(&mut self, is: bool) {
        self.fresh = if is { Some(self.fresh.take().unwrap_or_default()) } else { None };
    }

    /// What a round read of this OA is not used any more.
    fn note_fresh(&mut self, oa_id: &OaId) {
        if let Some(fresh) = &mut self.fresh {
            fresh.insert(oa_id.clone());
        }
    }

    fn is_fresh(&self, oa_id: &OaId) -> bool {
        self.fresh.as_ref().is_some_and(|fresh| fresh.contains(oa_id))
    }

    /// Is this path another OA's by now? It may be, where the config gives it to one OA after the other.
    fn is_others(&self, path: &str, oa_id: &OaId) -> bool {
        let others = self.section.oas.iter().flatten().filter(|other| *other != oa_id);
        others.filter(|other| self.noted.contains(*other)).any(|other| {
            self.is_wanted(other) && self.place(other).is_some_and(|place| place == Path::new(path))
        })
    }

    fn place(&self, oa_id: &OaId) -> Option<PathBuf> {
        content::place(&self.section.of.path, oa_id)
    }

    /// Brings the files of these OAs up to date.
    async fn publish(&mut self, oas: BTreeSet<OaId>, how: How) {
        let oas: Vec<OaId> = oas.into_iter().collect();
        for some in oas.chunks(TOGETHER) {
            let (wanted, unwanted): (Vec<&OaId>, Vec<&OaId>) =
                some.iter().partition(|oa_id| self.is_wanted(oa_id));
            let mut unwanted: Vec<OaId> = unwanted.into_iter().cloned().collect();
            while !unwanted.is_empty() {
                unwanted = self.remove(unwanted).await;
            }
            let mut files = Vec::with_capacity(wanted.len());
            for oa_id in wanted {
                self.note_fresh(oa_id);
                match self.around.reader.held(oa_id).await {
                    Ok(Some(held)) => files.extend(self.wanted(oa_id, &held)),
                    // Nothing is taken away from whoever has an older one.
                    Ok(None) => self.worked(oa_id),
                    Err(error) => self.failed(oa_id, &format!("its set cannot be read: {error}")),
                }
            }
            self.put(files, how).await;
        }
    }

    /// The file of an OA as it is to be.
    fn wanted(&mut self, oa_id: &OaId, held: &crate::store::Held) -> Option<Wanted> {
        let TokenFile { format, mode, owner, group, .. } = self.section.of;
        match (self.place(oa_id), content::content(format, oa_id, held)) {
            (Some(path), Ok(content)) => {
                Some(Wanted { oa_id: oa_id.clone(), path, content, mode, owner, group })
            }
            (None, _) => {
                self.failed(oa_id, "its id cannot stand in a path");
                None
            }
            (_, Err(error)) => {
                self.failed(oa_id, &error.to_string());
                None
            }
        }
    }

    /// Puts files in their places. Returns those that there was no time for.
    async fn put(&mut self, files: Vec<Wanted>, how: How) -> Vec<Wanted> {
        if files.is_empty() {
            return files;
        }
        if let Err(error) = self.note(&files).await {
            let detail = format!("the store does not take note of the file: {error}");
            files.iter().for_each(|file| self.failed(&file.oa_id, &detail));
            return Vec::new();
        }
        let work = move || together::put(files, how);
        match tokio::task::spawn_blocking(work).await {
            Ok(Put { done, rest }) => {
                for (oa_id, outcome) in done {
                    match outcome {
                        Ok(()) => self.worked(&oa_id),
                        Err(detail) => self.failed(&oa_id, &detail),
                    }
                }
                rest
            }
            // A panic, which the log has told; the next round looks at them again.
            Err(_) => Vec::new(),
        }
    }

    async fn note(&mut self, files: &[Wanted]) -> Result<(), StoreError> {
        let is_new = |file: &&Wanted| !self.noted.contains(&file.oa_id);
        let new: Vec<PublishedFile> = files.iter().filter(is_new).map(published).collect();
        if new.is_empty() {
            return Ok(());
        }
        let oas: Vec<OaId> = new.iter().map(|file| file.oa_id.clone()).collect();
        self.around.store.note_published(new).await?;
        self.noted.extend(oas);
        Ok(())
    }

    /// Removes the files of OAs that are not published any more, as many as a step has time for; returns the rest.
    async fn remove(&mut self, oas: Vec<OaId>) -> Vec<OaId> {
        let mut paths = Vec::with_capacity(oas.len());
        for oa_id in oas {
            self.note_fresh(&oa_id);
            self.again.strike(&oa_id);
            // One that has become another's of this section meanwhile is not its own any more.
            let is_own = |path: &PathBuf| !self.is_others(&path.to_string_lossy(), &oa_id);
            match self.place(&oa_id).filter(|_| self.noted.contains(&oa_id)).filter(is_own) {
                Some(path) => paths.push((oa_id, path)),
                None => {
                    self.noted.remove(&oa_id);
                    self.failures.remove(&oa_id);
                    self.troubles.forget(Some(&oa_id));
                }
            }
        }
        if paths.is_empty() {
            return Vec::new();
        }
        let Ok(Removed { done, rest }) = tokio::task::spawn_blocking(move || together::remove(paths)).await
        else {
            return Vec::new();
        };
        let gone = done.iter().filter(|(_, outcome)| outcome.is_ok());
        let gone = gone.filter_map(|(oa_id, _)| Some(self.place(oa_id)?.to_string_lossy().into_owned()));
        let forgotten = self.around.store.forget_published(gone.collect()).await;
        for (oa_id, outcome) in done {
            let outcome =
                outcome.and(forgotten.as_ref().map(drop).map_err(|error| format!("the store: {error}")));
            match outcome {
                Ok(()) => {
                    self.noted.remove(&oa_id);
                    self.worked(&oa_id);
                }
                Err(detail) => self.failed(&oa_id, &detail),
            }
        }
        rest
    }

    /// Makes one step of a round. `None`: it has come to its end.
    async fn step(&mut self, mut round: Round) -> Option<Round> {
        round.not_before = None;
        if round.files.is_empty() && round.unwanted.is_empty() {
            let stage = std::mem::replace(&mut round.stage, Stage::Ended);
            match self.read(&mut round, &stage).await {
                Ok(Stage::Ended) => return None,
                // What was told while it was read comes first: then it is fresher than the page.
                Ok(next) => {
                    round.stage = next;
                    return Some(round);
                }
                Err(error) => {
                    tracing::debug!(%error, "a round of publishing waits for the store");
                    round.stage = stage;
                    round.not_before = Some(Instant::now() + ROUND_AGAIN);
                    return Some(round);
                }
            }
        }
        let unwanted: Vec<OaId> = take(&mut round.unwanted, |oa_id| !self.is_wanted(oa_id));
        for oa_id in self.remove(unwanted).await {
            round.unwanted.push_back(oa_id);
        }
        let files: Vec<Wanted> = take(&mut round.files, |file| !self.is_fresh(&file.oa_id));
        let rest = self.put(files, How::InAStep).await;
        rest.into_iter().rev().for_each(|file| round.files.push_front(file));
        Some(round)
    }

    /// Reads the next page of a round, and says where the one after it begins.
    async fn read(&mut self, round: &mut Round, stage: &Stage) -> Result<Stage, StoreError> {
        match stage {
            Stage::Noted(after) => {
                let page = self.around.reader.published(after.clone(), PAGE).await?;
                let Some(last) = page.last().map(|file| file.path.clone()) else {
                    return Ok(Stage::Wanted(None));
                };
                for PublishedFile { path, oa_id } in page {
                    if self.place(&oa_id).is_some_and(|place| place == Path::new(&path)) {
                        let is_wanted = self.is_wanted(&oa_id) || self.is_others(&path, &oa_id);
                        self.noted.insert(oa_id.clone());
                        round.unwanted.extend((!is_wanted).then_some(oa_id));
                    }
                }
                Ok(Stage::Noted(last))
            }
            Stage::Wanted(after) => {
                self.fresh = Some(HashSet::new());
                let page = self.around.reader.held_after(after.clone(), PAGE).await?;
                let Some((last, _)) = page.last().cloned() else { return Ok(Stage::Ended) };
                for (oa_id, held) in page {
                    if let Some(held) = held.filter(|_| self.is_wanted(&oa_id)) {
                        round.files.extend(self.wanted(&oa_id, &held));
                    }
                }
                Ok(Stage::Wanted(Some(last)))
            }
            Stage::Ended => Ok(Stage::Ended),
        }
    }

    fn failed(&mut self, oa_id: &OaId, detail: &str) {
        let failures = self.failures.entry(oa_id.clone()).or_default();
        *failures += 1;
        let wait = backoff::of_file(*failures);
        self.again.put(oa_id.clone(), Instant::now() + wait);
        let retry_at = self.around.clock.now().plus(wait);
        self.troubles.failed(&self.section.name, Some(oa_id), detail, Some(retry_at));
    }

    fn worked(&mut self, oa_id: &OaId) {
        self.failures.remove(oa_id);
        self.again.strike(oa_id);
        self.troubles.worked(&self.section.name, Some(oa_id));
    }

    /// Tries again what could not be done before.
    async fn retry(&mut self) {
        let due = self.again.take_due(Instant::now(), TOGETHER);
        self.publish(due.into_iter().collect(), How::Anyway).await;
    }
}

/// The first of them that are still to be done, as many as are done together.
fn take<T>(from: &mut VecDeque<T>, is_to_be_done: impl Fn(&T) -> bool) -> Vec<T> {
    let mut taken = Vec::new();
    while taken.len() < TOGETHER
        && let Some(one) = from.pop_front()
    {
        taken.extend(Some(one).filter(&is_to_be_done));
    }
    taken
}

fn published(file: &Wanted) -> PublishedFile {
    PublishedFile { path: file.path.to_string_lossy().into_owned(), oa_id: file.oa_id.clone() }
}
