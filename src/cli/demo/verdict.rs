//! The end: what became of each fault, the simulator's ledger, and whether all is well.

use super::super::{Failure, exit, print};
use super::board::Board;
use super::stage::{SHOPS, Stage};
use crate::store::State;

/// Why the watching ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The time was over.
    InTime,
    /// A signal came: what is open then is nobody's fault.
    Interrupted,
    /// The daemon ended by itself.
    DaemonGone,
}

/// Prints the end, and fails if not all is well.
pub(super) async fn tell(
    stage: Stage,
    board: &Board,
    ending: &Ending,
    well_ended: Result<(), String>,
) -> Result<(), Failure> {
    let ledger = stage.simulator.ledger();
    let mut wrong = Vec::new();
    match (ending, well_ended) {
        (Ending::DaemonGone, Ok(())) => wrong.push("the daemon ended by itself".to_owned()),
        (Ending::DaemonGone, Err(how)) => wrong.push(format!("the daemon ended by itself: {how}")),
        (Ending::InTime | Ending::Interrupted, ended) => wrong.extend(ended.err()),
    }
    print(&faults(board))?;
    if *ending == Ending::InTime {
        let idle = board.script.staged.iter().filter(|staged| !staged.has_struck);
        wrong.extend(idle.map(|staged| format!("\"{}\" never happened", staged.act.label())));
        if board.script.staged.is_empty() {
            wrong.push("no fault could be set up in this time".to_owned());
        }
    }
    print(&format!("\nthe simulator's ledger:\n{}\n", with_names(ledger.summary())))?;
    if !ledger.is_clean() {
        wrong.push("the ledger is not clean".to_owned());
    }
    let unwell = unwell(&stage, board)?;
    if unwell.is_empty() {
        print(&format!("all {} OAs hold an access token that the simulator accepts\n", SHOPS.len()))?;
    } else if *ending == Ending::Interrupted {
        print(&format!("ended early; still under way: {}\n", unwell.join("; ")))?;
    } else {
        wrong.extend(unwell);
    }
    let Stage { simulator, directory, .. } = stage;
    simulator.shutdown().await;
    if let Err(error) = directory.close() {
        wrong.push(format!("the temporary directory is not wholly removed: {error}"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(exit::FAILED, format!("the demo did not end well: {}", wrong.join("; "))))
}

fn faults(board: &Board) -> String {
    let mut text = "\nfaults on purpose, and how each was settled:\n".to_owned();
    if board.script.staged.is_empty() {
        text.push_str("  none so far\n");
    }
    for staged in &board.script.staged {
        let name = SHOPS[staged.place].name;
        let came_of_it = match (staged.has_struck, staged.steps.is_empty()) {
            (false, _) => "has not happened".to_owned(),
            (true, true) => "still open".to_owned(),
            (true, false) => staged.steps.join(" → "),
        };
        let (second, label) = (staged.at.as_secs_f64(), staged.act.label());
        // Two lines each, so that they fit on a terminal of 80 columns.
        text.push_str(&format!("{second:>6.1}s  {name:<12}  {label}\n         {came_of_it}\n"));
    }
    text
}

/// The ledger knows OAs by their ids; people know them by their names.
fn with_names(summary: String) -> String {
    SHOPS.iter().fold(summary, |text, shop| {
        text.replace(&format!("OA {},", shop.oa_id), &format!("{} (OA {}),", shop.name, shop.oa_id))
    })
}

/// The OAs that are not as they should be at the end, each with why.
fn unwell(stage: &Stage, board: &Board) -> Result<Vec<String>, Failure> {
    let mut unwell = Vec::new();
    for (shop, row) in SHOPS.iter().zip(&board.rows) {
        let standing = row.status.as_ref().map(|status| (status.state, status.reason.as_deref()));
        match standing {
            Some((State::Scheduled, _)) if stage.has_good_token(shop)? => {}
            Some((State::Scheduled, _)) => unwell.push(format!("{} has no valid access token", shop.name)),
            Some((state, reason)) => {
                let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                unwell.push(format!("{} is {}{why}", shop.name, state.word()));
            }
            None => unwell.push(format!("{} was never seen in the store", shop.name)),
        }
    }
    Ok(unwell)
}
