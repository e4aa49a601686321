//! How the program ends when something is wrong.

use crate::args::Output;

/// A result of the program.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error with the exit code that it means.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Exit code 2: what was typed or given is wrong. Fix it and run again.
    #[error("{0}")]
    BadInput(String),
    /// Exit code 1: it could not be done. What was committed stays.
    #[error("{doing}: {source}")]
    Failed {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Exit code 1: a check of a table found something wrong, which was printed.
    #[error("{table} is damaged: {findings} findings")]
    Unsound {
        /// The table.
        table: String,
        /// How much is wrong.
        findings: usize,
    },
    /// An error of the engine: exit code 2 where the script is at fault, else 1.
    #[error(transparent)]
    Engine(#[from] frazil_engine::Error),
    /// An error of the catalog: exit code 1.
    #[error(transparent)]
    Catalog(#[from] frazil_catalog::Error),
}

impl Error {
    pub(crate) fn failed(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed { doing: doing.into(), source: source.into() }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        use frazil_compactor::Error as Compactor;
        use frazil_engine::Error as Engine;
        use frazil_engine::connectors::SourceError;
        use frazil_reader::Error as Reader;
        use frazil_writer::Error as Writer;
        match self {
            Self::BadInput(_) => 2,
            Self::Catalog(frazil_catalog::Error::BadRequest(_)) => 2,
            Self::Engine(Engine::Sql(_) | Engine::Option(_) | Engine::NotStreamable { .. }) => 2,
            Self::Engine(Engine::Compactor(Compactor::BadOption { .. })) => 2,
            Self::Engine(Engine::Writer(Writer::OtherDefinition { .. })) => 2,
            Self::Engine(Engine::Reader(
                Reader::UnknownColumn { .. }
                | Reader::InvalidPredicate { .. }
                | Reader::NoSuchSnapshot { .. }
                | Reader::NotAnAncestor { .. }
                | Reader::OtherPosition { .. }
                | Reader::NoIdentifier { .. },
            )) => 2,
            Self::Engine(Engine::Source(error)) => match **error {
                SourceError::Definition { .. } | SourceError::UnknownConnector { .. } => 2,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// Says it on standard error: for a person, or as one JSON object.
    #[expect(clippy::print_stderr, reason = "the last word of the program goes to the terminal")]
    pub(crate) fn print(&self, output: Output) {
        match output {
            Output::Text => eprintln!("frazil: {self}"),
            Output::Json => {
                eprintln!("{}", serde_json::json!({ "error": self.to_string(), "exit-code": self.exit_code() }));
            }
        }
    }
}
