//! Figures, each with what is wanted of it.

/// What was measured, and what is wanted.
pub struct Figure {
    what: String,
    measured: f64,
    wanted: f64,
    at_most: bool,
    unit: &'static str,
}

pub fn at_least(what: impl Into<String>, measured: f64, wanted: f64, unit: &'static str) -> Figure {
    Figure { what: what.into(), measured, wanted, at_most: false, unit }
}

pub fn at_most(what: impl Into<String>, measured: f64, wanted: f64, unit: &'static str) -> Figure {
    Figure { what: what.into(), measured, wanted, at_most: true, unit }
}

/// Shows them, and ends the program: with 1 where one falls short.
pub fn show(figures: &[Figure]) -> ! {
    println!("\n{:<64} {:>12} {:>12}", "figure", "measured", "wanted");
    let mut is_short = false;
    for Figure { what, measured, wanted, at_most, unit } in figures {
        let is_well = if *at_most { measured <= wanted } else { measured >= wanted };
        let sign = if *at_most { "≤" } else { "≥" };
        is_short |= !is_well;
        let note = if is_well { "" } else { "  SHORT" };
        println!(
            "{what:<64} {:>12} {:>12}{note}",
            format!("{measured:.3}{unit}"),
            format!("{sign} {wanted}{unit}")
        );
    }
    std::process::exit(i32::from(is_short));
}

/// So many of a hundred values are at most this.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(place).copied().unwrap_or(f64::NAN)
}

pub fn middle(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}
