//! Every case is in a text file beside this one: a script, `==>`, and what comes of it. `UPDATE_EXPECT=1` writes the
//! outcomes anew; read the difference before it is committed.

use std::fmt::Write as _;

use expect_test::{ExpectFile, expect, expect_file};

use super::*;
use crate::options::Options;

#[test]
fn tables() {
    check_cases(include_str!("tests/tables.txt"), expect_file!["tests/tables.txt"]);
}

#[test]
fn inserts_and_queries() {
    check_cases(include_str!("tests/queries.txt"), expect_file!["tests/queries.txt"]);
}

#[test]
fn hints_and_versions() {
    check_cases(include_str!("tests/hints.txt"), expect_file!["tests/hints.txt"]);
}

#[test]
fn other_statements() {
    check_cases(include_str!("tests/statements.txt"), expect_file!["tests/statements.txt"]);
}

#[test]
fn altered_tables_and_calls() {
    check_cases(include_str!("tests/alter.txt"), expect_file!["tests/alter.txt"]);
}

#[test]
fn mistakes() {
    check_cases(include_str!("tests/mistakes.txt"), expect_file!["tests/mistakes.txt"]);
}

#[test]
fn types_display_as_what_parses_to_the_same_again() {
    for text in [
        "BOOLEAN",
        "TINYINT NOT NULL",
        "SMALLINT",
        "INT",
        "BIGINT",
        "FLOAT",
        "DOUBLE",
        "DECIMAL(38, 0)",
        "CHAR(3)",
        "VARCHAR(20)",
        "STRING",
        "BINARY(16)",
        "VARBINARY(7)",
        "BYTES",
        "DATE",
        "TIME(0)",
        "TIMESTAMP(3)",
        "TIMESTAMP_LTZ(6) NOT NULL",
        "ARRAY<ARRAY<INT NOT NULL> NOT NULL>",
        "MAP<STRING, ROW<a INT, b ARRAY<ROW<c BIGINT>>>>",
        "ROW<a ROW<b ROW<c INT>>>",
        "ROW<`select` INT, `a b` STRING 'it''s', `x``y` INT NOT NULL>",
    ] {
        let parsed = parse_type(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed.to_string(), text);
        let arrow = parsed.to_arrow();
        let back = DataType::from_arrow(&arrow, parsed.nullable).expect("every type is shown");
        assert_eq!(back.to_arrow(), arrow, "{text}");
    }
}

#[test]
fn types_have_synonyms_and_defaults() {
    let mut out = String::new();
    for text in [
        "integer",
        "double precision",
        "real",
        "dec(5)",
        "numeric",
        "varchar",
        "char",
        "timestamp",
        "timestamp(3) without time zone",
        "timestamp(3) with local time zone not null",
        "timestamp_ltz",
        "time",
        "row(a int, b row(c string))",
        "struct<a int null>",
        "map<string,map<string,int>>",
        "timestamp(9)",
        "timestamp with time zone",
        "decimal(39, 2)",
        "decimal(4, 5)",
        "multiset<int>",
        "row<>",
        "row<a int, a int>",
        "array<int>>",
        "array",
        "varchar(0)",
        "strnig",
        "int int",
    ] {
        let outcome = match parse_type(text) {
            Ok(data_type) => format!("{data_type} -> {}", data_type.to_arrow()),
            Err(error) => format!("error: {}", error.replace('\u{1f}', "; ")),
        };
        writeln!(out, "{text}: {outcome}").expect("a String takes it");
    }
    expect![[r#"
        integer: INT -> Int32
        double precision: DOUBLE -> Float64
        real: FLOAT -> Float32
        dec(5): DECIMAL(5, 0) -> Decimal128(5, 0)
        numeric: DECIMAL(10, 0) -> Decimal128(10, 0)
        varchar: STRING -> Utf8
        char: CHAR(1) -> Utf8
        timestamp: TIMESTAMP(6) -> Timestamp(µs)
        timestamp(3) without time zone: TIMESTAMP(3) -> Timestamp(µs)
        timestamp(3) with local time zone not null: TIMESTAMP_LTZ(3) NOT NULL -> Timestamp(µs, "+00:00")
        timestamp_ltz: TIMESTAMP_LTZ(6) -> Timestamp(µs, "+00:00")
        time: TIME(0) -> Time64(µs)
        row(a int, b row(c string)): ROW<a INT, b ROW<c STRING>> -> Struct("a": Int32, "b": Struct("c": Utf8))
        struct<a int null>: ROW<a INT> -> Struct("a": Int32)
        map<string,map<string,int>>: MAP<STRING, MAP<STRING, INT>> -> Map("entries": non-null Struct("key": non-null Utf8, "value": Map("entries": non-null Struct("key": non-null Utf8, "value": Int32), unsorted)), unsorted)
        timestamp(9): error: the precision is a number from 0 to 6, not '9'
        timestamp with time zone: error: a zone per value can't be kept; TIMESTAMP WITH LOCAL TIME ZONE (TIMESTAMP_LTZ) keeps the instant
        decimal(39, 2): error: the precision is a number from 1 to 38, not '39'
        decimal(4, 5): error: the scale is a number from 0 to 4, not '5'
        multiset<int>: error: the type MULTISET is not supported; a table can't keep a MULTISET; use ARRAY<…>, or MAP<…, INT> with counts
        row<>: error: a ROW needs at least one field
        row<a int, a int>: error: the ROW has two fields 'a'
        array<int>>: error: one '>' too many after the type
        array: error: Expected: <, found: EOF
        varchar(0): error: the length is a number from 1 to 2147483647, not '0'
        strnig: error: expected a data type, found 'strnig'; did you mean 'STRING'?
        int int: error: unexpected 'int' after the type
    "#]].assert_eq(&out);
}

/// On as much stack as the program's own main thread has: an unoptimised parser takes some of it for the depth that is
/// allowed, and none would be enough for a hundred thousand levels.
#[test]
fn a_hostile_depth_is_refused_and_not_recursed_into() {
    let thread = std::thread::Builder::new().stack_size(8 << 20);
    thread.spawn(refuse_hostile_depths).unwrap().join().unwrap();
}

fn refuse_hostile_depths() {
    let deep = format!("{}INT{}", "ARRAY<".repeat(100_000), ">".repeat(100_000));
    assert!(parse_type(&deep).expect_err("too deep").contains("at most 32 deep"));
    for deep in [
        format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("SELECT 1{}", " + 1".repeat(100_000)),
        format!("SELECT 1 WHERE a{}", " OR a = 1".repeat(100_000)),
        format!("SELECT {} a", "NOT ".repeat(100_000)),
        format!("SELECT {}1", "- ".repeat(100_000)),
        format!("SELECT a{}", "[1]".repeat(100_000)),
        format!("SELECT a{}", ".b".repeat(100_000)),
        format!("SELECT a{}", "::INT".repeat(100_000)),
        format!("SELECT a{}", " IS NULL".repeat(100_000)),
        format!("SELECT a{}", " AT TIME ZONE 'x'".repeat(100_000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(100_000)),
        format!("SELECT * FROM t{}", " CROSS JOIN t".repeat(100_000)),
        format!("SELECT * FROM t{}", " CROSS JOIN UNNEST(t.a)".repeat(100_000)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(100_000)),
        format!("SELECT {}1{}", "CASE WHEN ".repeat(100_000), " THEN 1 END".repeat(100_000)),
    ] {
        let outcome = parse_script(&deep);
        assert!(outcome.is_err(), "{}", &deep[..60]);
    }
}

/// Scripts that are damaged at random from a seed: each is parsed or refused with a place in it, and never a panic.
#[test]
fn damaged_scripts_are_parsed_or_refused() {
    let corpus: Vec<&str> = [
        include_str!("tests/tables.txt"),
        include_str!("tests/queries.txt"),
        include_str!("tests/hints.txt"),
        include_str!("tests/statements.txt"),
    ]
    .into_iter()
    .flat_map(|cases| cases.split("\n\n\n"))
    .filter_map(|case| case.split("\n==>").next())
    .collect();
    let mut random = Random(0x5eed);
    for _ in 0..4_000 {
        let mut script: Vec<char> = corpus[random.below(corpus.len())].chars().collect();
        for _ in 0..=random.below(4) {
            random.damage(&mut script);
        }
        let script: String = script.into_iter().collect();
        if let Err(error) = parse_script(&script) {
            let lines = script.split('\n').count() as u64;
            assert!(error.span.start.line <= lines, "{script}\n{error}");
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Knuth's multiplicative generator; the seed is all that a failure needs to be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn damage(&mut self, script: &mut Vec<char>) {
        const PIECES: [&str; 16] =
            ["(", ")", "'", "`", "/*+", "*/", "<", ">", ">>", ";", ",", " ROW<", " END", "\u{1f600}", "--", "\r\n"];
        let at = self.below(script.len());
        match self.below(3) {
            0 if !script.is_empty() => drop(script.remove(at)),
            1 => {
                let piece = PIECES[self.below(PIECES.len())].chars();
                script.splice(at..at, piece);
            }
            _ => script.truncate(at),
        }
    }
}

#[test]
fn places_are_places_in_the_script() {
    let script = "-- first\nUSE a;\n\n  SELECT 'x;y' /* ; */,\n  2;  ";
    let statements = parse_script(script).expect("it parses");
    let places: Vec<_> = statements.iter().map(|s| (s.span, s.text.as_str())).collect();
    expect![[r#"
        [
            (
                Span(Location(2,1)..Location(2,6)),
                "USE a",
            ),
            (
                Span(Location(4,3)..Location(5,4)),
                "SELECT 'x;y' /* ; */,\n  2",
            ),
        ]
    "#]]
    .assert_debug_eq(&places);
}

/// Parses every case of a file and compares the file with what came out.
fn check_cases(cases: &str, file: ExpectFile) {
    let mut out = String::new();
    for case in cases.split("\n\n\n") {
        let script = case.split_once("\n==>").map_or(case, |(script, _)| script).trim_matches('\n');
        let _ = write!(out, "{script}\n==>\n{}\n\n\n", outcome(script));
    }
    file.assert_eq(&format!("{}\n", out.trim_end()));
}

fn outcome(script: &str) -> String {
    match parse_script(script) {
        Ok(statements) => {
            let shown: Vec<String> = statements.iter().map(|statement| shown(&statement.node)).collect();
            shown.join("\n")
        }
        Err(error) => format!("ERROR {error}"),
    }
}

fn shown(statement: &Statement) -> String {
    let kind = statement.kind();
    match statement {
        Statement::CreateTable(table) => shown_table(table),
        Statement::CreateView(view) => {
            let (name, query) = (&view.name, shown_query(&view.query));
            format!("{kind} {name} temporary={} columns={:?}\n{query}", view.temporary, view.columns)
        }
        Statement::CreateCatalog(catalog) => {
            format!("{kind} {}{}", catalog.name, shown_options(&catalog.options))
        }
        Statement::CreateDatabase(database) => format!(
            "{kind} {} if_not_exists={} comment={:?}{}",
            database.name,
            database.if_not_exists,
            database.comment,
            shown_options(&database.options)
        ),
        Statement::Insert(insert) => shown_insert(insert),
        Statement::StatementSet(inserts) => {
            let inserts: Vec<String> =
                inserts.iter().map(|insert| shown_insert(&insert.node).replace('\n', "\n  ")).collect();
            format!("{kind}\n  {}", inserts.join("\n  "))
        }
        Statement::Explain(explain) => format!(
            "{kind} analyze={} verbose={} details={:?}\n  {}",
            explain.analyze,
            explain.verbose,
            explain.details,
            shown(&explain.statement).replace('\n', "\n  ")
        ),
        Statement::Query(query) => shown_query(query),
        Statement::Other(other) => format!("{kind} {other}"),
        Statement::Set(Some(setting)) => format!("{kind} '{}' = '{}'", setting.key, setting.value),
        Statement::UseCatalog(name)
        | Statement::Use(name)
        | Statement::Describe(name)
        | Statement::ExplainCompaction(name) => format!("{kind} {name}"),
        Statement::DropCatalog { name, if_exists } => {
            format!("{kind} {name} if_exists={if_exists}")
        }
        Statement::DropDatabase { name, if_exists, cascade } => {
            format!("{kind} {name} if_exists={if_exists} cascade={cascade}")
        }
        Statement::DropTable { name, temporary, if_exists, purge } => {
            format!("{kind} {name} temporary={temporary} if_exists={if_exists}{}", if *purge { " purge" } else { "" })
        }
        Statement::DropView { name, temporary, if_exists } => {
            format!("{kind} {name} temporary={temporary} if_exists={if_exists}")
        }
        Statement::AlterTable(alter) => shown_alter(alter),
        Statement::Call(call) => {
            let arguments = call.arguments.iter().map(|argument| {
                let name = argument.name.as_ref().map(|(name, _)| format!("{name} => ")).unwrap_or_default();
                format!("\n  {name}{}", argument.value)
            });
            format!("{kind} {}{}", call.procedure, arguments.collect::<String>())
        }
        Statement::Show(show) => match show {
            Show::Databases { catalog: Some(catalog) } => format!("{kind} databases of {catalog}"),
            Show::Tables { database: Some(database), like } => {
                format!("{kind} tables of {database} like {like:?}")
            }
            Show::CreateTable(name) => format!("{kind} create table {name}"),
            show => format!("{kind} {show:?}"),
        },
        Statement::RowChange(change) => {
            let set = change.assignments.iter().map(|set| format!("\n  {} = {}", set.path.join("."), set.value));
            let rows = &change.rows.ast;
            format!("{kind} {} as {}{}\n  {rows}", change.target, change.alias, set.collect::<String>())
        }
        Statement::Truncate(name) => format!("{kind} {name}"),
        Statement::Set(None) | Statement::Reset(_) => format!("{statement:?}"),
    }
}

fn shown_table(table: &CreateTable) -> String {
    let mut out = format!("CREATE TABLE {}", table.name);
    let replace = match table.replace {
        Replace::No => "",
        Replace::Any => " replace",
        Replace::Existing => " replace existing",
    };
    out.push_str(replace);
    for (set, word) in [(table.temporary, " temporary"), (table.if_not_exists, " if_not_exists")] {
        out.push_str(if set { word } else { "" });
    }
    for column in &table.columns {
        let kind = match &column.kind {
            ColumnKind::Physical(data_type) => data_type.to_string(),
            ColumnKind::Computed(expr) => format!("AS {expr}"),
            ColumnKind::Metadata { data_type, key, is_virtual } => {
                format!("{data_type} METADATA key={key:?} virtual={is_virtual}")
            }
        };
        let comment = column.comment.as_ref().map(|c| format!(" -- {c}")).unwrap_or_default();
        let _ = write!(out, "\n  {}: {kind}{comment}", column.name);
    }
    if let Some(watermark) = &table.watermark {
        let _ = write!(out, "\n  watermark {} = {}", watermark.column.join("."), watermark.expr);
    }
    if !table.primary_key.is_empty() {
        let _ = write!(out, "\n  key {}", table.primary_key.join(", "));
    }
    if let Some(comment) = &table.comment {
        let _ = write!(out, "\n  comment {comment}");
    }
    for field in &table.partitioned_by {
        let _ = write!(out, "\n  partitioned by {field}");
    }
    out.push_str(&shown_options(&table.options));
    if let Some(like) = &table.like {
        let _ = write!(out, "\n  like {like}");
    }
    if let Some(query) = &table.query {
        let _ = write!(out, "\n  {}", shown_query(query).replace('\n', "\n  "));
    }
    out
}

fn shown_alter(alter: &AlterTable) -> String {
    let mut out = format!("ALTER TABLE {} if_exists={}", alter.name, alter.if_exists);
    let path = |column: &ColumnPath| column.path.join(".");
    match &alter.action {
        AlterAction::Columns(steps) => {
            for step in steps {
                let _ = match step {
                    ColumnStep::Add { column, data_type, default, comment, place } => {
                        let default = default.as_ref().map(|default| default.to_string());
                        let added = format!("{data_type} default={default:?} comment={comment:?} place={place:?}");
                        write!(out, "\n  add {}: {added}", path(column))
                    }
                    ColumnStep::Drop { column, if_exists } => write!(out, "\n  drop {} {if_exists}", path(column)),
                    ColumnStep::Rename { column, to } => write!(out, "\n  rename {} to {to}", path(column)),
                    ColumnStep::Type { column, data_type } => write!(out, "\n  type {}: {data_type}", path(column)),
                    ColumnStep::Nullable { column, nullable } => {
                        write!(out, "\n  nullable {} {nullable}", path(column))
                    }
                    ColumnStep::Comment { column, comment } => write!(out, "\n  comment {} {comment}", path(column)),
                    ColumnStep::Default { column, default } => {
                        let default = default.as_ref().map(|default| default.to_string());
                        write!(out, "\n  default {} {default:?}", path(column))
                    }
                    ColumnStep::Move { column, place } => write!(out, "\n  move {} {place:?}", path(column)),
                };
            }
        }
        AlterAction::Set(options) => out.push_str(&shown_options(options)),
        AlterAction::Reset { keys, if_exists } => {
            let keys: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
            let _ = write!(out, "\n  reset {keys:?} {if_exists}");
        }
        AlterAction::RenameTo(name) => {
            let _ = write!(out, "\n  to {name}");
        }
        AlterAction::SetIdentifierFields(columns) | AlterAction::DropIdentifierFields(columns) => {
            let is_set = matches!(alter.action, AlterAction::SetIdentifierFields(_));
            let columns: Vec<_> = columns.iter().map(path).collect();
            let _ = write!(out, "\n  identifier fields set={is_set} {columns:?}");
        }
        AlterAction::AddPartitionField { field, name } => {
            let _ = write!(out, "\n  add {field} as {name:?}");
        }
        AlterAction::DropPartitionField(field) => {
            let _ = write!(out, "\n  drop {field}");
        }
        AlterAction::ReplacePartitionField { old, new, name } => {
            let _ = write!(out, "\n  replace {old} with {new} as {name:?}");
        }
        AlterAction::WriteOrder { terms, distribution } => {
            let _ = write!(out, "\n  distribution {distribution}");
            for OrderTerm { field, descending, nulls_first } in terms {
                let _ = write!(out, "\n  by {field} descending={descending} nulls_first={nulls_first}");
            }
        }
        action @ (AlterAction::SetLocation(_)
        | AlterAction::RenamePartitionField { .. }
        | AlterAction::CreateRef(_)
        | AlterAction::DropRef { .. }) => {
            let _ = write!(out, "\n  {action:?}");
        }
    }
    out
}

fn shown_insert(insert: &Insert) -> String {
    let columns: Vec<&str> = insert.columns.iter().map(|(name, _)| name.as_str()).collect();
    let partition: Vec<String> = insert.partition.iter().map(|(column, value)| format!("{column}={value}")).collect();
    format!(
        "INSERT {} overwrite={} columns={columns:?} partition={partition:?}{}\n{}",
        insert.target,
        insert.overwrite,
        shown_options(&insert.options),
        shown_query(&insert.query)
    )
}

fn shown_query(query: &Query) -> String {
    let mut out = format!("QUERY {}", query.ast);
    for table in &query.tables {
        let _ = write!(out, "\n  table `{}` is {}", table.planned_name, table.name);
        if let Some(as_of) = &table.as_of {
            let _ = match as_of {
                AsOf::Time(expr) => write!(out, " as of time {expr}"),
                AsOf::Snapshot(id) => write!(out, " as of snapshot {id}"),
                AsOf::Ref(name) => write!(out, " as of ref {name}"),
                AsOf::RowTime(expr) => write!(out, " as of each row's {expr}"),
            };
        }
        out.push_str(&shown_options(&table.options));
    }
    for hint in &query.hints {
        let (name, tables) = (&hint.name, &hint.tables);
        let _ = write!(out, "\n  hint {name} {tables:?}{}", shown_options(&hint.options));
    }
    for construct in &query.constructs {
        let start = construct.span.start;
        let name = construct.kind.name();
        let _ = write!(out, "\n  construct {name} at {}:{}", start.line, start.column);
    }
    out
}

fn shown_options(options: &Options) -> String {
    options.iter().map(|entry| format!("\n    '{}' = '{}'", entry.key, entry.value)).collect()
}
