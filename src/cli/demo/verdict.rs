//! The end: what became of each act, the simulator's ledger, and whether all is well.

use super::super::{Failure, exit, print};
use super::board::Board;
use super::shops::SHOPS;
use super::stage::Stage;
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
        wrong.extend(board.script.staged.iter().filter_map(|staged| {
            let how = match (staged.has_struck, staged.is_settled) {
                (_, true) => return None,
                (true, false) => "was not settled",
                (false, false) => "never happened",
            };
            Some(format!("\"{}\" {how}", staged.act.label()))
        }));
        if board.script.staged.is_empty() {
            wrong.push("no act could begin in this time".to_owned());
        } else if !board.script.is_played() {
            wrong.push("not all acts could begin in this time".to_owned());
        }
    }
    print(&format!("\nthe simulator's ledger:\n{}\n", with_names(board, ledger.summary())))?;
    if !ledger.is_clean() {
        wrong.push("the ledger is not clean".to_owned());
    }
    let refused = board.used.iter().filter(|used| !used.is_accepted).count();
    match (board.used.len(), refused) {
        (0, _) if *ending == Ending::Interrupted => {}
        (0, _) => wrong.push("the consumer got no token".to_owned()),
        (used, 0) => print(&format!("the consumer used {used} tokens, each accepted\n"))?,
        (used, refused) => wrong.push(format!("{refused} of the {used} tokens of the consumer were refused")),
    }
    let unwell = unwell(&stage, board)?;
    if unwell.is_empty() {
        let count = board.on_stage().count();
        print(&format!("all {count} OAs hold an access token that the simulator accepts\n"))?;
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
        let came_of_it = match (staged.has_struck, staged.steps.is_empty()) {
            (false, _) => "has not happened".to_owned(),
            (true, true) => "still open".to_owned(),
            (true, false) => staged.steps.join(" → "),
        };
        let (second, whose, label) = (staged.at.as_secs_f64(), &staged.whose, staged.act.label());
        // Two lines each, so that they fit on a terminal of 80 columns.
        text.push_str(&format!("{second:>6.1}s  {whose:<12}  {label}\n         {came_of_it}\n"));
    }
    text
}

/// The ledger knows OAs by their ids; people know them by their names.
fn with_names(board: &Board, summary: String) -> String {
    (0..SHOPS.len()).fold(summary, |text, place| {
        let oa_id = SHOPS[place].oa_id;
        text.replace(&format!("OA {oa_id},"), &format!("{} (OA {oa_id}),", board.name(place)))
    })
}

/// The OAs that are not as they should be at the end, each with why.
fn unwell(stage: &Stage, board: &Board) -> Result<Vec<String>, Failure> {
    let mut unwell = Vec::new();
    for (place, status) in board.on_stage() {
        let name = board.name(place);
        match (status.state, status.reason.as_deref()) {
            // The daemon may have been asked to stop just when a request was about to leave.
            (State::Scheduled | State::Retrying, _) if stage.has_good_token(&SHOPS[place])? => {}
            (State::Scheduled | State::Retrying, _) => {
                unwell.push(format!("{name} has no valid access token"));
            }
            (state, reason) => {
                let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                unwell.push(format!("{name} is {}{why}", state.word()));
            }
        }
    }
    if board.on_stage().next().is_none() {
        unwell.push("no OA was ever seen in the store".to_owned());
    }
    Ok(unwell)
}
