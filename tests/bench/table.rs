//! Tables, and the statistics in them.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Result of one figure.
pub struct Table {
    title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: &'static str, columns: &[&'static str]) -> Self {
        Self {
            title,
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub fn row<const N: usize>(&mut self, cells: &[String; N]) {
        assert_eq!(N, self.columns.len(), "a cell for each column");
        self.rows.push(cells.to_vec());
    }

    /// Returns a Markdown table with aligned columns.
    pub fn to_text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].len()]).max().unwrap_or(0)
        };
        let line = |cells: &[String]| {
            let cells = cells.iter().enumerate();
            let padded: Vec<String> = cells.map(|(i, cell)| format!("{cell:>w$}", w = width(i))).collect();
            format!("| {} |\n", padded.join(" | "))
        };
        let heads: Vec<String> = self.columns.iter().map(|&it| it.to_owned()).collect();
        let rules: Vec<String> = (0..heads.len()).map(|i| "-".repeat(width(i) - 1) + ":").collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n\n{}{}{rows}", self.title, line(&heads), line(&rules))
    }

    /// Returns one line of JSON, in which numeric cells are numbers.
    pub fn to_json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let cells = self.columns.iter().zip(row);
            let cells = cells.map(|(&column, cell)| {
                let value = serde_json::from_str::<Value>(cell).unwrap_or_else(|_| json!(cell));
                (column.to_owned(), value)
            });
            Value::Object(cells.collect::<Map<_, _>>())
        });
        json!({"title": self.title, "rows": rows.collect::<Vec<_>>()}).to_string()
    }
}

/// Returns the time that `percent` % of the times do not exceed.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Returns the value in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Formats a time in milliseconds.
pub fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// Formats a time in microseconds.
pub fn us(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6)
}
