//! Names of tables, databases and catalogs.

use std::fmt;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::{
    ALL_KEYWORDS_INDEX, Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS,
};

use super::Span;

/// A name of one to three parts: `table`, `database.table`, `catalog.database.table` (for a database the last part is
/// the database). Case is kept and counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    parts: Vec<String>,
    span: Span,
}

impl Name {
    /// A name that does not come from a script.
    ///
    /// # Panics
    /// When there are no parts or more than three.
    pub fn new<S: Into<String>>(parts: impl IntoIterator<Item = S>) -> Self {
        let parts: Vec<String> = parts.into_iter().map(Into::into).collect();
        assert!((1..=3).contains(&parts.len()), "a name has one to three parts: {parts:?}");
        Self { parts, span: Span::empty() }
    }

    /// `None` when there are no parts or more than three, or one that is not an identifier.
    pub(super) fn from_ast(name: &ast::ObjectName) -> Option<Self> {
        let idents: Vec<&ast::Ident> = name.0.iter().map(|part| part.as_ident()).collect::<Option<_>>()?;
        if !(1..=3).contains(&idents.len()) {
            return None;
        }
        let span = Span::union_iter(idents.iter().map(|ident| ident.span));
        Some(Self { parts: idents.into_iter().map(|ident| ident.value.clone()).collect(), span })
    }

    /// The last part: the table's own name.
    pub fn last(&self) -> &str {
        self.parts.last().expect("a name has at least one part")
    }

    /// The part before the last: the table's database.
    pub fn database(&self) -> Option<&str> {
        self.parts.len().checked_sub(2).map(|index| self.parts[index].as_str())
    }

    /// The first of three parts: the table's catalog.
    pub fn catalog(&self) -> Option<&str> {
        (self.parts.len() == 3).then(|| self.parts[0].as_str())
    }

    /// All parts, outermost first.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// The same name at a place in the script.
    pub(crate) fn at(self, span: Span) -> Self {
        Self { span, ..self }
    }

    /// Where it stands in the script; empty when it does not come from one.
    pub fn span(&self) -> Span {
        self.span
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(&quoted(part))?;
        }
        Ok(())
    }
}

/// A database is what DataFusion calls a schema.
impl From<&Name> for TableReference {
    fn from(name: &Name) -> Self {
        match name.parts.as_slice() {
            [table] => TableReference::bare(table.clone()),
            [database, table] => TableReference::partial(database.clone(), table.clone()),
            [catalog, database, table] => TableReference::full(catalog.clone(), database.clone(), table.clone()),
            _ => unreachable!("a name has one to three parts"),
        }
    }
}

/// The identifier in backticks where it needs them.
pub(super) fn quoted(identifier: &str) -> String {
    let mut chars = identifier.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !is_reserved(identifier);
    match plain {
        true => identifier.to_owned(),
        false => format!("`{}`", identifier.replace('`', "``")),
    }
}

fn is_reserved(identifier: &str) -> bool {
    let upper = identifier.to_ascii_uppercase();
    let keyword = datafusion::sql::sqlparser::keywords::ALL_KEYWORDS
        .binary_search(&upper.as_str())
        .map_or(Keyword::NoKeyword, |index| ALL_KEYWORDS_INDEX[index]);
    RESERVED_FOR_TABLE_ALIAS.contains(&keyword) || RESERVED_FOR_COLUMN_ALIAS.contains(&keyword)
}
