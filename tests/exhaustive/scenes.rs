//! What an earlier process has left behind.

use faulty_disk::Loss;
use std::sync::Arc;

use zalo_tokend::clock::Moment;
use zalo_tokend::id::AttemptId;
use zalo_tokend::rotation::Exchange;
use zalo_tokend::store::{Claimed, Journalled, SpilledAnswer};

use crate::world::{World, oa};

impl World {
    /// Presents a token, and puts the answer, if one comes, into a slot when that is wanted; the database hears nothing of
    /// it.
    pub async fn present(&mut self, into_slot: bool) {
        let (store, _) = self.start().expect("the disk is well");
        let slot = store.take_slot().expect("a free slot");
        let claimed = store.claim(oa(), false, self.reading()).await.expect("claimed");
        let Claimed::Due(claim) = claimed else { panic!("due: {claimed:?}") };
        let id = AttemptId::random();
        let journalled = store.present(claim.clone(), id, self.now, 8, self.reading()).await;
        assert_eq!(journalled, Ok(Journalled::Written));
        let (exchange, _) = self.pass_the_gate(&claim, id);
        if let (Exchange::Answered(answer), true) = (exchange, into_slot) {
            let spilled = SpilledAnswer { attempt: id, obtained: Moment::at(&self.reading()), answer };
            let (_slot, filled) = slot.filling(Arc::new(spilled)).await.expect("no panic");
            filled.expect("filled");
            self.ledger.is_durable();
        }
        // Before anything is closed.
        *self = self.after(Loss::Nothing);
    }

    /// A rotation after which nothing was closed.
    pub async fn leave_a_log(&mut self) {
        let (store, _) = self.start().expect("the disk is well");
        self.work(&store).await.expect("the disk is well");
        *self = self.after(Loss::Nothing);
    }
}
