//! What a hook wrote, as far as the log takes it: bounded, without control characters, and without the token that the hook
//! was given. Pure.

use crate::secret::Secret;

/// How much of a run goes into the log, in bytes.
const MOST: usize = 4 << 10;
/// What each line takes of that beside its text: they are not without number.
const OF_A_LINE: usize = 32;

/// What one stream of a run brought, up to what is kept of it.
#[derive(Debug, Default)]
pub(super) struct Heard {
    bytes: Vec<u8>,
    is_more: bool,
}

impl Heard {
    /// Takes in what came. With room for a token that begins where the log's share ends, so that none is cut.
    pub(super) fn take_in(&mut self, bytes: &[u8], token: Option<&Secret>) {
        let most = MOST + token.map_or(0, |token| token.expose().len());
        let room = most - self.bytes.len().min(most);
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.is_more |= bytes.len() > room;
    }
}

/// The lines for the log, of both streams together.
pub(super) fn lines(heard: &[Heard], token: Option<&Secret>) -> Vec<String> {
    let (mut lines, mut room, mut is_more) = (Vec::new(), MOST, false);
    for Heard { bytes, is_more: goes_on } in heard {
        is_more |= goes_on;
        let text = String::from_utf8_lossy(without_begun(bytes, token));
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let shown = shown(line, token);
            if room == 0 {
                is_more = true;
                break;
            }
            let fits = |end: &usize| shown.is_char_boundary(*end);
            let end = (0..=room.min(shown.len())).rev().find(fits).unwrap_or(0);
            is_more |= end < shown.len();
            room = room.saturating_sub(end + OF_A_LINE);
            lines.push(shown[..end].to_owned());
        }
    }
    if is_more {
        lines.push("… more".to_owned());
    }
    lines
}

/// Without the beginning of a token that stands at the end: what is kept of a stream, or was written before a hook was
/// ended, may end in the middle of one, which would not be known as that.
fn without_begun<'b>(bytes: &'b [u8], token: Option<&Secret>) -> &'b [u8] {
    let token = token.map_or(&b""[..], |token| token.expose().as_bytes());
    let begun = (1..token.len()).rev().find(|length| bytes.ends_with(&token[..*length]));
    &bytes[..bytes.len() - begun.unwrap_or(0)]
}

fn shown(line: &str, token: Option<&Secret>) -> String {
    if token.is_some_and(|token| line.contains(token.expose())) {
        return "[a line with the access token in it]".to_owned();
    }
    line.trim_end().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parts: &[&[u8]], token: Option<&str>) -> Vec<String> {
        let token = token.map(|token| Secret::new(token.to_owned()));
        let mut heard = [Heard::default(), Heard::default()];
        for (index, part) in parts.iter().enumerate() {
            heard[index % 2].take_in(part, token.as_ref());
        }
        lines(&heard, token.as_ref())
    }

    #[test]
    fn lines_are_told_apart_and_nothing_of_them_can_act_on_a_terminal() {
        assert_eq!(
            said(&[b"one\r\n\ntwo \x1b[31m", b"three\xff"], None),
            ["one", "two \u{fffd}[31m", "three\u{fffd}"]
        );
        assert!(said(&[b"", b"\n \n"], None).is_empty());
    }

    #[test]
    fn no_more_goes_into_the_log_than_is_allowed_and_that_there_is_more_is_said() {
        let long = vec![b'x'; 3 * MOST];
        let lines = said(&[&long, b"after"], None);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].len(), lines[1].as_str()), (MOST, "… more"));
        assert!(said(&["x\n".repeat(MOST).as_bytes()], None).len() < 150);
        let many = said(&["ä\n".repeat(3 * MOST).as_bytes()], None);
        assert!(many.iter().map(String::len).sum::<usize>() <= MOST + "… more".len());
        assert_eq!(many.last().map(String::as_str), Some("… more"));
    }

    #[test]
    fn i9_nothing_of_a_token_is_shown_that_is_cut_at_the_end_of_what_is_kept() {
        let token = "CANARY".repeat(100);
        let line = format!("{{\"padding\": \"{}\", \"access_token\": \"{token}\"}}\n", "x".repeat(140));
        for text in [
            format!("y\n{}", line.repeat(20)),
            format!("{}{token} after", "\n".repeat(MOST + 1)),
            line[..line.len() - 30].to_owned(),
        ] {
            for pieces in [7, 4_096] {
                let parts: Vec<&[u8]> = text.as_bytes().chunks(pieces).collect();
                let secret = Secret::new(token.clone());
                let mut heard = [Heard::default()];
                parts.iter().for_each(|part| heard[0].take_in(part, Some(&secret)));
                let lines = lines(&heard, Some(&secret));
                assert!(lines.iter().all(|line| !line.contains("CANARY")), "{lines:?}");
            }
        }
    }

    #[test]
    fn a_line_with_the_token_is_masked_wherever_it_stands() {
        let token = "CANARY".repeat(10);
        for before in [0, 10, MOST - 70, MOST - 30, MOST - 1, MOST, MOST + 5] {
            for stream in 0..2 {
                let text = format!("{}{token} after", "x".repeat(before));
                let parts: Vec<&[u8]> =
                    if stream == 0 { vec![text.as_bytes()] } else { vec![b"", text.as_bytes()] };
                let lines = said(&parts, Some(&token));
                assert!(lines.iter().all(|line| !line.contains("CANARY")), "{before}: {lines:?}");
            }
        }
        assert_eq!(
            said(&[b"x\nCANARY y\nz"], Some("CANARY")),
            ["x", "[a line with the access token in it]", "z"]
        );
    }
}
