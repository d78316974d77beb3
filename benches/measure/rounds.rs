//! Rounds: every contender once, in turns; medians of all rounds, ratios pair by pair within each.

use std::io::{IsTerminal, Write, stderr};

use forkmesh::channel::Alone;

/// A contender at one task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Measures once; how much the round gives it to do comes with the call.
    pub(crate) run: fn(&mut Alone, usize) -> f64,
}

/// What many rounds of one task gave; the first row is what the others are compared to.
#[derive(Debug)]
pub(crate) struct Table {
    title: &'static str,
    unit: &'static str,
    names: Vec<&'static str>,
    figures: Vec<Vec<f64>>,
}

impl Table {
    /// Measures: `rounds` rounds, in each of which every row has its turn, a different one first.
    pub(crate) fn measure(
        title: &'static str,
        unit: &'static str,
        rows: &[Row],
        rounds: usize,
        amount: usize,
    ) -> Self {
        let alone = &mut Alone::verify().expect("a bench has one thread");
        let mut figures = vec![Vec::new(); rows.len()];
        for round in 0..rounds {
            progress(format_args!("{title}: round {} of {rounds}", round + 1));
            for turn in 0..rows.len() {
                let row = (turn + round) % rows.len();
                figures[row].push((rows[row].run)(alone, amount));
            }
        }
        progress(format_args!(""));
        Self {
            title,
            unit,
            names: rows.iter().map(|row| row.name).collect(),
            figures,
        }
    }

    /// The median of the ratios of two rows in one round; `None` where one of them is not there.
    pub(crate) fn ratio(&self, name: &str, base: &str) -> Option<f64> {
        let mut ratios = self.ratios(self.row(name)?, self.row(base)?);
        Some(median(&mut ratios))
    }

    /// The median of a row.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        Some(median(&mut self.figures[self.row(name)?].clone()))
    }

    fn row(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| *other == name)
    }

    fn ratios(&self, row: usize, base: usize) -> Vec<f64> {
        let pairs = self.figures[row].iter().zip(&self.figures[base]);
        pairs.map(|(figure, base)| figure / base).collect()
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("\n{}", self.title);
        println!(
            "  {:34} {:>10} {:>8}   {:>15}",
            self.unit, "median", "ratio", "middle half"
        );
        for (row, name) in self.names.iter().enumerate() {
            let figure = self.figure(name).unwrap_or(f64::NAN);
            let mut ratios = self.ratios(row, 0);
            let ratio = median(&mut ratios);
            let low = ratios[ratios.len() / 4];
            let high = ratios[ratios.len() * 3 / 4];
            println!("  {name:34} {figure:>10.1} {ratio:>8.3}   {low:>6.3} – {high:>6.3}");
        }
    }
}

/// Where somebody watches: one line, written over again and again.
fn progress(line: core::fmt::Arguments<'_>) {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[2K{line}");
    }
}

/// One figure that has to stay under a bound.
pub(crate) fn bar(name: &str, figure: Option<f64>, bound: f64) {
    match figure {
        None => println!("  {name:64} {:>8}  ≤ {bound:<6} not measured", "-"),
        Some(figure) => {
            let word = if figure <= bound { "met" } else { "NOT MET" };
            println!("  {name:64} {figure:>8.3}  ≤ {bound:<6} {word}");
        }
    }
}

/// The median; sorts.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 {
        figures[middle]
    } else {
        f64::midpoint(figures[middle - 1], figures[middle])
    }
}
