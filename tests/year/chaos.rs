//! What goes wrong, when, and for how long.

use std::collections::{BTreeMap, BTreeSet};

use faulty_disk::{Fault, FaultKind, Loss};
use zalo_tokend::id::{AppId, OaId};
use zalo_tokend::store::AtVendors;

use crate::clocks::{DAY, HOUR, MINUTE, SECOND};
use crate::queue::{Event, Step};
use crate::world::{APPS, World};

/// What is wrong with the world outside, at the moment.
#[derive(Default)]
pub struct Weather {
    pub outages: BTreeMap<AppId, Outage>,
    pub wrong_secrets: BTreeSet<AppId>,
    pub questions_fail: bool,
}

/// What all requests of an app meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    Refusing,
    Silent,
    SickAndUnspent,
    SickAndSpent,
    Throttling,
}

/// Something that was wrong is right again.
pub enum Relief {
    Disk,
    Outage(AppId),
    Secret(AppId),
    Clock,
    Questions,
    Moved(OaId, AppId),
    Added(OaId, AppId),
}

/// What can go wrong by itself; what requests meet is in `fate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    Kill,
    PowerLoss,
    Stop,
    Reload,
    ClockStep,
    Suspend,
    DiskFull,
    DiskBroken,
    DiskFault,
    DiskCrash,
    Outage,
    WrongSecret,
    QuestionsFail,
    OaMoved,
    OaRemoved,
    RefreshAsked,
    ImportOutOfTurn,
}

impl Mishap {
    pub const ALL: [Mishap; 17] = [
        Mishap::Kill,
        Mishap::PowerLoss,
        Mishap::Stop,
        Mishap::Reload,
        Mishap::ClockStep,
        Mishap::Suspend,
        Mishap::DiskFull,
        Mishap::DiskBroken,
        Mishap::DiskFault,
        Mishap::DiskCrash,
        Mishap::Outage,
        Mishap::WrongSecret,
        Mishap::QuestionsFail,
        Mishap::OaMoved,
        Mishap::OaRemoved,
        Mishap::RefreshAsked,
        Mishap::ImportOutOfTurn,
    ];
}

impl World {
    /// Something goes wrong, and the next thing is planned.
    pub async fn regular_mishap(&mut self) -> Result<(), String> {
        let wait = self.between(HOUR, 60 * HOUR);
        self.queue.push(self.clocks.truth + wait, Event::Mishap { is_regular: true });
        self.mishap().await
    }

    /// While an attempt is under way more goes wrong than at other times: else hardly anything would meet one.
    pub fn tempt_fate(&mut self) {
        if self.happens(12) {
            let wait = self.between(0, 3 * SECOND);
            self.queue.push(self.clocks.truth + wait, Event::Mishap { is_regular: false });
        }
    }

    pub async fn mishap(&mut self) -> Result<(), String> {
        if self.is_calm {
            return Ok(());
        }
        let mishap = Mishap::ALL[self.dice.usize(..Mishap::ALL.len())];
        self.note(|_| format!("-- {mishap:?}"));
        self.well_since = None;
        self.cover(&format!("{mishap:?}"))?;
        match mishap {
            Mishap::Kill => self.kill(),
            Mishap::PowerLoss => self.lose_power(),
            Mishap::Stop => {
                if let Some(process) = &mut self.process {
                    process.is_stopping = true;
                }
                self.end_if_stopping();
            }
            Mishap::Reload => self.reload(|_| {}).await?,
            Mishap::ClockStep => self.step_clock(),
            Mishap::Suspend => {
                let longest = if self.dice.bool() { HOUR } else { 4 * DAY };
                let length = self.between(MINUTE, longest);
                self.queue.suspend(self.clocks.truth + length);
            }
            Mishap::DiskFull | Mishap::DiskBroken | Mishap::DiskFault | Mishap::DiskCrash => {
                self.harm_disk(mishap);
            }
            Mishap::Outage => self.begin_outage(),
            Mishap::WrongSecret => {
                let app_id = self.some_app();
                self.weather.wrong_secrets.insert(app_id.clone());
                self.relief_within(8 * HOUR, Relief::Secret(app_id));
            }
            Mishap::QuestionsFail => {
                self.weather.questions_fail = true;
                self.relief_within(20 * HOUR, Relief::Questions);
            }
            Mishap::OaMoved => self.move_oa().await?,
            Mishap::OaRemoved => self.remove_oa().await?,
            Mishap::RefreshAsked => self.hurry().await,
            Mishap::ImportOutOfTurn => {
                let oa_id = self.some_oa();
                self.import_out_of_turn(&oa_id)?;
            }
        }
        Ok(())
    }

    fn relief_within(&mut self, longest: u64, relief: Relief) {
        let wait = self.between(MINUTE, longest);
        self.queue.push(self.clocks.truth + wait, Event::Relief(relief));
    }

    pub fn some_app(&mut self) -> AppId {
        AppId::from(APPS[self.dice.usize(..APPS.len())])
    }

    pub fn some_oa(&mut self) -> OaId {
        let number = self.dice.usize(..self.fleet.oas.len());
        self.fleet.oas.keys().nth(number).expect("that many").clone()
    }

    fn kill(&mut self) {
        if self.process.is_some() {
            self.crash("kill -9");
            self.disk.restart(Loss::Nothing);
        }
    }

    fn lose_power(&mut self) {
        let seed = self.dice.u64(..);
        if self.process.is_some() {
            self.crash("power loss");
        }
        self.disk.restart(Loss::Unsynced { seed });
        self.clocks.reboot();
    }

    fn step_clock(&mut self) {
        let far = [10 * MINUTE, 30 * HOUR, 400 * DAY, 3_650 * DAY][self.dice.usize(..4)];
        let step = i64::try_from(self.between(MINUTE, far)).expect("not that far");
        let error = if self.dice.bool() { step } else { -step };
        self.clocks.set_error(error);
        self.relief_within(30 * HOUR, Relief::Clock);
        self.sweep_in(0);
    }

    fn harm_disk(&mut self, mishap: Mishap) {
        self.is_disk_harmed = true;
        let at = self.between(1, 60);
        let kind = match (mishap, self.dice.u32(..4)) {
            (Mishap::DiskFull, _) => {
                let left = self.between(0, 40_000);
                self.disk.fill(Some(left));
                return self.relief_within(4 * HOUR, Relief::Disk);
            }
            (Mishap::DiskBroken, _) => FaultKind::IoForever,
            (Mishap::DiskCrash, 0..2) => FaultKind::CrashBefore,
            (Mishap::DiskCrash, _) => FaultKind::CrashAfter,
            (_, 0) => FaultKind::Io,
            (_, 1) => FaultKind::Full,
            (_, 2) => FaultKind::ShortWrite,
            (_, _) => FaultKind::FalseAlarm,
        };
        self.disk.fail(Fault { at, kind });
        self.relief_within(4 * HOUR, Relief::Disk);
    }

    fn begin_outage(&mut self) {
        let kinds = [
            Outage::Refusing,
            Outage::Silent,
            Outage::SickAndUnspent,
            Outage::SickAndSpent,
            Outage::Throttling,
        ];
        let outage = kinds[self.dice.usize(..kinds.len())];
        let app_id = self.some_app();
        self.note(|_| format!("{app_id}: {outage:?}"));
        self.weather.outages.insert(app_id.clone(), outage);
        self.relief_within(8 * HOUR, Relief::Outage(app_id));
    }

    /// The config is changed and the program told; where the store does not take it, the old one stays.
    pub async fn reload(&mut self, change: impl FnOnce(&mut World)) -> Result<(), String> {
        let before = self.fleet.oas.clone();
        change(self);
        let Some(store) = self.store() else { return Ok(()) };
        let now = self.clocks.read();
        let (oas, timing) = (self.fleet.oas.clone(), self.fleet.timing.clone());
        let taken = match store.manage(oas, AtVendors::default(), timing, now.clone()).await {
            Ok(_) => store.allow_trials(now.time).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            self.note(|_| format!("the config is not taken: {error}"));
            self.fleet.oas = before;
        }
        self.sweep_in(0);
        Ok(())
    }

    async fn move_oa(&mut self) -> Result<(), String> {
        let (oa_id, app_id) = (self.some_oa(), self.some_app());
        let Some(before) = self.fleet.oas.get(&oa_id).map(|managed| managed.app_id.clone()) else {
            return Ok(());
        };
        if before == app_id {
            return Ok(());
        }
        if self.dice.bool() {
            self.relief_within(60 * HOUR, Relief::Moved(oa_id.clone(), before));
        }
        self.reload(|world| world.fleet.oas.get_mut(&oa_id).expect("there").app_id = app_id).await
    }

    async fn remove_oa(&mut self) -> Result<(), String> {
        let oa_id = self.some_oa();
        if self.fleet.oas.len() < 2 {
            return Ok(());
        }
        let app_id = self.fleet.oas[&oa_id].app_id.clone();
        self.relief_within(60 * HOUR, Relief::Added(oa_id.clone(), app_id));
        self.reload(|world| drop(world.fleet.oas.remove(&oa_id))).await
    }

    async fn hurry(&mut self) {
        let oa_id = self.some_oa();
        let (Some(store), now) = (self.store(), self.clocks.read()) else { return };
        let managed = self.fleet.oas.get(&oa_id).cloned();
        if let Ok(Some(status)) = store.status(oa_id.clone(), managed, now.clone()).await {
            let hurried = store.hurry(oa_id.clone(), status.generation, now).await;
            self.note(|_| format!("{oa_id}: to be refreshed now: {hurried:?}"));
            self.sweep_in(0);
        }
    }

    pub async fn relieve(&mut self, relief: Relief) -> Result<(), String> {
        self.well_since = None;
        match relief {
            Relief::Disk => {
                self.is_disk_harmed = false;
                self.disk.disarm();
                self.disk.fill(None);
            }
            Relief::Outage(app_id) => drop(self.weather.outages.remove(&app_id)),
            Relief::Secret(app_id) => {
                self.weather.wrong_secrets.remove(&app_id);
                self.reload(|_| {}).await?;
            }
            Relief::Clock => self.clocks.set_error(0),
            Relief::Questions => self.weather.questions_fail = false,
            Relief::Moved(oa_id, app_id) => {
                let put_back = |world: &mut World| {
                    if let Some(managed) = world.fleet.oas.get_mut(&oa_id) {
                        managed.app_id = app_id;
                    }
                };
                self.reload(put_back).await?;
            }
            Relief::Added(oa_id, app_id) => {
                let managed = zalo_tokend::store::Managed { app_id, name: None };
                self.reload(|world| {
                    world.fleet.oas.entry(oa_id).or_insert(managed);
                })
                .await?;
            }
        }
        self.sweep_in(0);
        Ok(())
    }

    /// From here on nothing goes wrong.
    pub fn calm_down(&mut self) {
        self.note(|_| "-- calm".to_owned());
        self.is_calm = true;
        self.weather = Weather::default();
        self.disk.disarm();
        self.disk.fill(None);
        self.clocks.set_error(0);
        self.queue.push(self.clocks.truth, Event::Relief(Relief::Disk));
        self.later(SECOND, Step::Sweep);
    }
}
