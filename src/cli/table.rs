//! Plain tables: columns as wide as their widest cell, tones only on a terminal.

use std::io::IsTerminal;

/// How a cell is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
}

pub(super) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    pub(super) fn new(heads: &[&'static str]) -> Table {
        Table { heads: heads.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table, for stdout.
    pub(super) fn render(&self) -> String {
        let has_tones = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        self.render_with(has_tones)
    }

    fn render_with(&self, has_tones: bool) -> String {
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|column| {
                let cells =
                    self.rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count());
                cells.chain([self.heads[column].len()]).max().unwrap_or(0)
            })
            .collect();
        let heads = self.heads.iter().map(|head| ((*head).to_owned(), Tone::Plain)).collect();
        let mut text = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, tone), width) in row.iter().zip(&widths) {
                let padding = " ".repeat(width - cell.chars().count());
                line.push_str(&painted(cell, *tone, has_tones));
                line.push_str(&padding);
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

pub(super) fn painted(text: &str, tone: Tone, has_tones: bool) -> String {
    let colour = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Warning => "33",
        Tone::Bad => "31",
    };
    if has_tones { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG"]);
        table.row([("một hai".to_owned(), Tone::Good), ("x".to_owned(), Tone::Plain)]);
        assert_eq!(table.render_with(false), "A        LONG\nmột hai  x\n");
        assert!(table.render_with(true).contains("\u{1b}[32m"));
    }
}
