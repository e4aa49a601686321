//! Flink SQL in, statements out.
//!
//! [`parse_script`] reads a job's text. It decides what is a statement and what its parts are; it knows nothing of
//! catalogs, connectors or modes. Queries come out as sqlparser trees that DataFusion plans as they are (see [`Query`]).

mod alter_table;
mod arrow_type;
mod call;
mod create_table;
mod data_type;
mod depth;
mod dialect;
mod error;
mod hint;
mod insert;
mod name;
mod opening;
mod options_clause;
mod partition;
pub mod planner;
mod query;
pub(crate) mod row_change;
mod script;
mod setting;
mod statement;
mod statements;
mod tokens;
mod type_parser;
mod version;

#[cfg(test)]
mod tests;

pub use datafusion::sql::sqlparser::tokenizer::{Location, Span};

pub use alter_table::{AlterAction, AlterTable, ColumnPath, ColumnPlace, ColumnStep, CreateRef, OrderTerm};
pub use arrow_type::UTC;
pub use call::{Call, CallArgument};
pub use create_table::{Column, ColumnKind, CreateTable, Replace, Watermark};
pub use data_type::{DataType, RowField, TypeKind};
pub use error::SqlError;
pub use hint::QueryHint;
pub use name::Name;
pub use partition::{PartitionField, Transform};
pub use query::{AsOf, Construct, ConstructKind, Query, TableRef};
pub use row_change::{Assignment, RowChange};
pub use script::{parse_one, parse_script};
pub use statement::{CreateCatalog, CreateDatabase, CreateView, Explain, Insert, Setting, Show, Spanned, Statement};
pub use type_parser::parse_type;
