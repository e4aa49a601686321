//! `DELETE` and `UPDATE` of rows whose files are just being compacted.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use frazil_catalog::{Catalog, CommitQueue};
use frazil_compactor::{Config, commit_rewrite, plan_rewrite, run_group};
use frazil_table::io;
use frazil_table::spec::TableIdent;
use tempfile::TempDir;

use super::*;

async fn rows(session: &mut Session) -> BTreeMap<i64, i64> {
    let query = parse_script("SELECT id, v FROM t").unwrap();
    let Outcome::Rows(rows) = execute(session, &query[0]).await.unwrap() else { panic!("it is a query") };
    let mut found = BTreeMap::new();
    for batch in rows.collect().await.unwrap() {
        let [ids, values] = [0, 1].map(|column| batch.column(column).as_primitive::<Int64Type>().values().clone());
        for (id, v) in ids.iter().zip(values.iter()) {
            assert_eq!(found.insert(*id, *v), None, "row {id} is there twice");
        }
    }
    found
}

/// Rounds of: new rows, a rewrite of everything, statements while it runs, its commit. Each statement deletes by position or by
/// deletion vectors from files that are gone a moment later, and those of the next round from files that carry deletes.
#[tokio::test]
async fn statements_on_files_that_are_compacted_hold() {
    for version in [2_u8, 3] {
        let folder = TempDir::with_prefix("frazil-compacted-").unwrap();
        let catalog = catalog(folder.path()).await;
        let mut session = session(folder.path()).await;
        let create = format!(
            "CREATE TABLE t (id BIGINT, v BIGINT) WITH ('format-version' = '{version}',
             'write.delete.mode' = 'merge-on-read', 'write.update.mode' = 'merge-on-read')"
        );
        answers(&mut session, &create).await.unwrap();
        let queue = CommitQueue::new(catalog.clone(), Env::system(), TableIdent::from_strs(["default", "t"]).unwrap());
        let config = Config::default().packing();
        let mut random = StdRng::seed_from_u64(version.into());
        let mut model = BTreeMap::new();
        let mut rebased = 0;
        for round in 0..6_i64 {
            for file in 0..2 {
                let first = (round * 2 + file) * 50;
                let values: Vec<String> = (first..first + 50).map(|id| format!("({id}, {id})")).collect();
                answers(&mut session, &format!("INSERT INTO t VALUES {}", values.join(", "))).await.unwrap();
                model.extend((first..first + 50).map(|id| (id, id)));
            }
            let table = catalog.load_table(queue.ident()).await.unwrap();
            let state = io::load_state(&queue.env().store, queue.cache(), &table, io::Entries::All).await.unwrap();
            let plan = plan_rewrite(&state, &config).unwrap();
            let mut results = Vec::new();
            for group in &plan.groups {
                let result = run_group(group, queue.env(), &table, &config, &CancellationToken::new()).await;
                results.push(result.unwrap());
            }
            assert_eq!(results.len(), 1);
            let (divisor, rest) = (random.random_range(5..12), random.random_range(0..5));
            let hit = |id: i64, by: i64| id % divisor == (rest + by) % divisor;
            let delete = format!("DELETE FROM t WHERE id % {divisor} = {}", rest % divisor);
            answers(&mut session, &delete).await.unwrap();
            model.retain(|id, _| !hit(*id, 0));
            let update = format!("UPDATE t SET v = v + 1000 WHERE id % {divisor} = {}", (rest + 1) % divisor);
            answers(&mut session, &update).await.unwrap();
            model.iter_mut().filter(|(id, _)| hit(**id, 1)).for_each(|(_, v)| *v += 1_000);
            assert_eq!(rows(&mut session).await, model, "before the commit of round {round}");
            let end = commit_rewrite(&queue, results).await.unwrap();
            assert!(end.dropped.is_empty() && end.committed.len() == 1, "{end:?}");
            rebased += end.rows_rebased;
            assert_eq!(rows(&mut session).await, model, "format version {version}, round {round}");
        }
        assert!(rebased > 100, "{rebased} deleted rows came along");
    }
}
