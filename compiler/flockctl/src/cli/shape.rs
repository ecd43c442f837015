//! What is typed behind `-o`, and which command prints what.

use clap::ValueEnum;
use clap::error::ErrorKind;

use super::{CheckFormat, Format};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// For people
    Table,
    /// For people: more columns
    Wide,
    /// For programs
    Json,
    /// For programs, and readable
    Yaml,
    /// For people: what is not well; of `check` alone
    Short,
    /// Markdown: of `matrix`, `preview` and `lint`
    Md,
    /// Of `matrix` and `preview`
    Csv,
    /// A graph for Graphviz; of `matrix` alone
    Dot,
    /// A picture; of `matrix` alone
    Svg,
    /// SARIF 2.1.0, for code scanning; of `preview` and `lint`
    Sarif,
}

use Shape::{Csv, Dot, Json, Md, Sarif, Short, Svg, Table, Wide, Yaml};

/// What a command prints.
pub(crate) fn of(command: &str) -> &'static [Shape] {
    match command {
        "check" => &[Table, Short, Json],
        "matrix" => &[Table, Wide, Json, Yaml, Md, Csv, Dot, Svg],
        "preview" => &[Table, Wide, Json, Yaml, Md, Csv, Sarif],
        "lint" => &[Table, Wide, Json, Yaml, Md, Sarif],
        _ => &[Table, Wide, Json, Yaml],
    }
}

impl Shape {
    /// As it is typed.
    pub(crate) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Refuses what a command does not print.
    ///
    /// # Errors
    /// With what it prints.
    pub(super) fn check(self, command: &str) -> Result<Self, clap::Error> {
        let known = of(command);
        if known.contains(&self) {
            return Ok(self);
        }
        let words: Vec<String> = known.iter().map(|shape| shape.word()).collect();
        let message = format!("-o {}: {command} prints {}", self.word(), words.join(", "));
        Err(clap::Error::raw(ErrorKind::InvalidValue, message))
    }

    /// For what has no columns to add.
    pub(super) const fn plain(self) -> Format {
        match self {
            Json => Format::Json,
            Yaml => Format::Yaml,
            Table | Wide | Short | Md | Csv | Dot | Svg | Sarif => Format::Table,
        }
    }

    /// For `check`.
    pub(super) const fn of_check(self) -> CheckFormat {
        match self {
            Short => CheckFormat::Short,
            Json => CheckFormat::Json,
            Table | Wide | Yaml | Md | Csv | Dot | Svg | Sarif => CheckFormat::Table,
        }
    }
}
