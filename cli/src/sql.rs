//! `frazil sql`: statements carried out one after the other, in batch.

use std::io::{IsTerminal, Read};
use std::time::Instant;

use frazil_engine::Session;
use frazil_engine::batch::{self, Outcome, Rows, RowsChanged};
use frazil_engine::sql::{Explain, Spanned, Statement, parse_script};
use futures::TryStreamExt;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::args::{Common, Output, Sql};
use crate::error::{Error, Result};
use crate::print::{note, say, say_ndjson, say_table};
use crate::world;

/// Rows of a result that are kept to be printed as one table; what is beyond is printed as a table of its own.
const TABLE_ROWS_MAX: usize = 10_000;

pub(crate) async fn sql(common: &Common, args: &Sql, output: Output) -> Result<()> {
    let mut session = world::session(common).await?;
    match (&args.execute, &args.file) {
        (Some(script), _) => run_script(&mut session, script, output).await,
        (None, Some(path)) => {
            let script = std::fs::read_to_string(path)
                .map_err(|e| Error::BadInput(format!("the script {} can't be read: {e}", path.display())))?;
            run_script(&mut session, &script, output).await
        }
        (None, None) if std::io::stdin().is_terminal() => converse(&mut session, output).await,
        (None, None) => {
            let mut script = String::new();
            std::io::stdin().read_to_string(&mut script).map_err(|e| Error::failed("reading the script", e))?;
            run_script(&mut session, &script, output).await
        }
    }
}

/// Carries out a script; a statement that fails is the last.
pub(crate) async fn run_script(session: &mut Session, script: &str, output: Output) -> Result<()> {
    for statement in parse_script(script).map_err(frazil_engine::Error::from)? {
        let begun = Instant::now();
        let outcome = batch::execute(session, &statement).await?;
        print_outcome(outcome, begun, output).await?;
    }
    Ok(())
}

/// Carries out the definitions of a script, and shows the plans of the rest.
pub(crate) async fn explain_script(session: &mut Session, script: &str, output: Output) -> Result<()> {
    for Spanned { node, span, text } in parse_script(script).map_err(frazil_engine::Error::from)? {
        match node {
            Statement::StatementSet(inserts) => {
                for Spanned { node, span, text } in inserts {
                    let node = Statement::Insert(Box::new(node));
                    explain_statement(session, Spanned { node, span, text }, output).await?;
                }
            }
            node @ (Statement::Query(_) | Statement::Insert(_) | Statement::RowChange(_) | Statement::Truncate(_)) => {
                explain_statement(session, Spanned { node, span, text }, output).await?;
            }
            node => _ = batch::execute(session, &Spanned { node, span, text }).await?,
        }
    }
    Ok(())
}

async fn explain_statement(session: &mut Session, statement: Spanned<Statement>, output: Output) -> Result<()> {
    let Spanned { node, span, text } = statement;
    note(output, &format!("{};", text.trim()));
    let explain = Explain { statement: Box::new(node), analyze: false, verbose: false, details: Vec::new() };
    let node = Statement::Explain(Box::new(explain));
    let outcome = batch::execute(session, &Spanned { node, span, text }).await?;
    print_outcome(outcome, Instant::now(), output).await
}

pub(crate) async fn print_outcome(outcome: Outcome, begun: Instant, output: Output) -> Result<()> {
    match (outcome, output) {
        (Outcome::Done(what), Output::Text) => say(&what),
        (Outcome::Done(what), Output::Json) => say(&serde_json::json!({ "done": what }).to_string()),
        (Outcome::Changed(changed), Output::Text) => say(&in_words(&changed)),
        (Outcome::Changed(changed), Output::Json) => say(&serde_json::json!({
            "changed": changed.table.name().to_string(), "by": changed.kind, "rows": changed.rows,
            "removed-files": changed.removed_files, "added-files": changed.added_files,
            "delete-files": changed.delete_files, "snapshot-id": changed.snapshot_id,
        })
        .to_string()),
        (Outcome::Rows(rows), output) => print_rows(rows, begun, output).await?,
        (Outcome::Inserted(inserted), output) => {
            for insert in inserted {
                let (table, rows, files) = (insert.table.name().to_string(), insert.rows, insert.files);
                let snapshot_id = insert.snapshot_id;
                match output {
                    Output::Text => say(&format!("{table}: {rows} rows in {files} files")),
                    Output::Json => say(&serde_json::json!({
                        "inserted": table, "rows": rows, "files": files, "snapshot-id": snapshot_id,
                    })
                    .to_string()),
                }
            }
        }
    }
    Ok(())
}

/// `default.t: 3 rows deleted; 1 data file removed, 1 added`
fn in_words(changed: &RowsChanged) -> String {
    let done = if changed.kind == "UPDATE" { "updated" } else { "deleted" };
    let mut text = format!("{}: {} rows {done}", changed.table.name(), changed.rows);
    let counts = [
        (changed.removed_files, "data files removed"),
        (changed.added_files, "data files added"),
        (changed.delete_files, "delete files added"),
    ];
    for (index, (count, what)) in counts.into_iter().filter(|(count, _)| *count > 0).enumerate() {
        text.push_str(if index == 0 { "; " } else { ", " });
        text.push_str(&format!("{count} {what}"));
    }
    text
}

async fn print_rows(mut rows: Rows, begun: Instant, output: Output) -> Result<()> {
    let (mut kept, mut kept_rows, mut count) = (Vec::new(), 0, 0);
    while let Some(batch) = rows.batches.try_next().await? {
        count += batch.num_rows();
        if output == Output::Json {
            say_ndjson(&batch)?;
            continue;
        }
        kept_rows += batch.num_rows();
        kept.push(batch);
        if kept_rows >= TABLE_ROWS_MAX {
            say_table(&rows.schema, &std::mem::take(&mut kept))?;
            kept_rows = 0;
        }
    }
    if output == Output::Text {
        if !kept.is_empty() || count == 0 {
            say_table(&rows.schema, &kept)?;
        }
        let (bytes, files) = (rows.cost.bytes_fetched(), rows.cost.files_read());
        let ms = begun.elapsed().as_millis();
        say(&format!("{count} rows in {ms} ms, {bytes} bytes fetched from {files} files"));
    }
    Ok(())
}

/// Reads statements from a person until end of file. An error is printed and forgotten.
async fn converse(session: &mut Session, output: Output) -> Result<()> {
    let failed = |e: ReadlineError| Error::failed("reading a line", e);
    let mut editor = DefaultEditor::new().map_err(failed)?;
    let mut pending = String::new();
    loop {
        let prompt = if pending.is_empty() { "frazil> " } else { "     -> " };
        match editor.readline(prompt) {
            Ok(line) => {
                pending.push_str(&line);
                pending.push('\n');
                if pending.trim().is_empty() {
                    pending.clear();
                } else if pending.trim_end().ends_with(';') {
                    let script = std::mem::take(&mut pending);
                    editor.add_history_entry(script.trim()).ok();
                    if let Err(error) = run_script(session, &script, output).await {
                        error.print(output);
                    }
                }
            }
            Err(ReadlineError::Interrupted) => pending.clear(),
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
    }
}
