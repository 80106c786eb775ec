//! The board on a terminal: a table that is drawn over and over in its place.

use std::time::Duration;

use super::super::table::{Tone, painted};
use super::super::{Failure, fleet, print};
use super::board::{Board, Row};
use super::shops::SHOPS;
use super::stage::{ACCESS_TOKEN_LIFE, BEFORE_EXPIRY};
use super::staged::Staged;
use crate::clock::{Clock, SystemClock};
use crate::store::OaStatus;

const HIDE_CURSOR: &str = "\u{1b}[?25l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";
/// Narrower than this, the table would not be one.
const NARROWEST: usize = 80;
/// Wider than this, the eye loses the row.
const WIDEST: usize = 132;
/// What stands around the OAs and the faults.
const OTHER_LINES: usize = 10;
const MOST_FAULTS: usize = 6;
const NAME: usize = 12;
const STATE: usize = 24;
/// Below this much life a token is nearly gone.
const NEARLY_GONE: Duration = Duration::from_secs(1);

/// Columns and rows.
type Size = (usize, usize);

/// The terminal, with its cursor hidden until dropped.
pub(super) struct Screen {
    lines: usize,
    size: Size,
}

impl Screen {
    /// `None` on a terminal that is too small for a table.
    pub(super) fn open() -> Option<Screen> {
        let size = size()?;
        let is_large = size.0 >= NARROWEST && size.1 > OTHER_LINES + SHOPS.len();
        (is_large && print(HIDE_CURSOR).is_ok()).then_some(Screen { lines: 0, size })
    }

    pub(super) fn draw(&mut self, board: &Board) -> Result<(), Failure> {
        let size = size().unwrap_or(self.size);
        let mut text = if size == self.size {
            if self.lines == 0 { String::new() } else { format!("\r\u{1b}[{}A", self.lines) }
        } else {
            // Lines may have wrapped: begin anew on an empty screen.
            "\u{1b}[H\u{1b}[2J".to_owned()
        };
        self.size = size;
        let lines = lines(board, size);
        for line in &lines {
            text.push_str(line);
            text.push_str("\u{1b}[K\n");
        }
        text.push_str("\u{1b}[J");
        self.lines = lines.len();
        print(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if print(SHOW_CURSOR).is_err() {
            tracing::debug!("stdout is closed");
        }
    }
}

fn size() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

fn lines(board: &Board, (columns, height): Size) -> Vec<String> {
    let width = columns.min(WIDEST);
    let mut lines = vec![
        format!(
            "{}  {:.0}s of {:.0}s, Ctrl-C ends it early",
            bold("zalo-tokend demo"),
            board.elapsed().as_secs_f64(),
            board.length.as_secs_f64()
        ),
        dim(&fit(
            &format!(
                "{} OAs at a simulated Zalo; a token lives {ACCESS_TOKEN_LIFE:?} and is refreshed \
                 {BEFORE_EXPIRY:?} before its end",
                board.on_stage().count()
            ),
            width,
        )),
        String::new(),
    ];
    let bar = (width - 70).clamp(10, 30);
    let head = format!(
        "{:<NAME$} {:>3} {:<bar$} {:>5} {:<STATE$} {}",
        "OA", "GEN", "ACCESS TOKEN", "LEFT", "STATE", "LAST EVENT"
    );
    lines.push(bold(&fit(&head, width)));
    let rows = board.on_stage().map(|(place, status)| {
        oa(board.name(place), &board.rows[place], status, board.elapsed(), bar, width)
    });
    lines.extend(rows);
    lines.push(String::new());
    lines.push(bold("FAULTS ON PURPOSE"));
    let room = height.saturating_sub(OTHER_LINES + SHOPS.len()).min(MOST_FAULTS);
    let staged = &board.script.staged;
    if staged.is_empty() {
        lines.push(dim(" none yet: first, every OA is refreshed once"));
    }
    lines.extend(staged[staged.len().saturating_sub(room)..].iter().map(|staged| fault(staged, width)));
    lines.push(dim(&fit(&format!("-- {}", board.told), width)));
    lines.push(String::new());
    lines.push(counts(board));
    lines
}

fn oa(name: &str, row: &Row, status: &OaStatus, elapsed: Duration, bar_width: usize, width: usize) -> String {
    let name = fit(name, NAME);
    let left = left(status);
    let (state, reason) = (status.state.word(), status.reason.as_deref());
    let rest = width.saturating_sub(NAME + 3 + bar_width + 5 + STATE + 5);
    let (last, tone) = match (&row.last, reason) {
        (_, Some(reason)) => (reason.to_owned(), Tone::Bad),
        (Some((at, name, tone)), None) => {
            (format!("{name} {:.0}s", elapsed.saturating_sub(*at).as_secs_f64()), *tone)
        }
        (None, None) => (String::new(), Tone::Plain),
    };
    format!(
        "{name} {:>3} {} {:>4.1}s {} {}",
        status.generation,
        bar(left, bar_width),
        left.as_secs_f64(),
        painted(&fit(state, STATE), fleet::tone(status.state), true),
        painted(&fit(&last, rest), tone, true),
    )
}

fn left(status: &OaStatus) -> Duration {
    let now = SystemClock::new().now();
    let end = status.access_token_expires_at.filter(|_| status.access_token_valid);
    end.map(|end| end.since(now)).unwrap_or_default()
}

/// What is left of a life, in half cells.
fn bar(left: Duration, width: usize) -> String {
    let share = (left.as_secs_f64() / ACCESS_TOKEN_LIFE.as_secs_f64()).min(1.0);
    let halves = (share * width as f64 * 2.0).round() as usize;
    let full = format!("{}{}", "━".repeat(halves / 2), if halves % 2 == 1 { "╸" } else { "" });
    let tone = match left {
        left if left <= NEARLY_GONE => Tone::Bad,
        left if left <= BEFORE_EXPIRY => Tone::Warning,
        _ => Tone::Good,
    };
    format!("{}{}", painted(&full, tone, true), dim(&"─".repeat(width - halves.div_ceil(2))))
}

/// One fault; of what came of it the latest, as far as there is room.
fn fault(staged: &Staged, width: usize) -> String {
    let head =
        format!("{:>5.1}s {:<NAME$} {:<27} ", staged.at.as_secs_f64(), staged.whose, staged.act.label());
    let tone = match (staged.has_struck, staged.is_settled) {
        (_, true) => Tone::Good,
        (true, false) => Tone::Warning,
        (false, false) => Tone::Plain,
    };
    let mut from = 0;
    let room = width.saturating_sub(head.chars().count());
    let shown = |from: usize| match (staged.steps.is_empty(), from) {
        (true, _) => "…".to_owned(),
        (false, 0) => staged.steps.join(" → "),
        (false, from) => format!("… → {}", staged.steps[from..].join(" → ")),
    };
    while shown(from).chars().count() > room && from + 1 < staged.steps.len() {
        from += 1;
    }
    head + &painted(&fit(&shown(from), room), tone, true)
}

fn counts(board: &Board) -> String {
    let counts = &board.counts;
    let bad = counts.without_proof + counts.violations;
    format!(
        "presented {} · spent {} · asked {} · lost {} · {}",
        counts.presentations,
        counts.spends,
        counts.probes,
        counts.answers_lost,
        painted(
            &format!("presented again without proof {}", counts.without_proof),
            if bad == 0 { Tone::Good } else { Tone::Bad },
            true
        ),
    )
}

/// The text, cut or filled up to this many characters.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).take(width).collect()
}

fn bold(text: &str) -> String {
    format!("\u{1b}[1m{text}\u{1b}[0m")
}

fn dim(text: &str) -> String {
    format!("\u{1b}[2m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_or_filled_up_by_characters_and_not_by_bytes() {
        assert_eq!(fit("Trà", 5), "Trà  ");
        assert_eq!(fit("Cà Phê Sáng", 6), "Cà Ph…");
        assert_eq!(fit("ab", 0), "");
    }

    #[test]
    fn a_bar_is_as_wide_as_told_whatever_is_left() {
        for left in [0, 1, 3_999, 4_000, 8_000, 20_000] {
            let bar = bar(Duration::from_millis(left), 10);
            assert_eq!(bar.chars().filter(|c| "━╸─".contains(*c)).count(), 10, "{left}");
        }
    }
}
