//! Scripts against tables in memory: what the parser makes of Flink's SQL has to be planned and run by DataFusion.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use expect_test::{Expect, expect};

use super::*;
use crate::coerce::coerce;
use crate::sql::{DataType, Statement, parse_one, parse_type};

const ORDERS: &str = "ROW<id BIGINT NOT NULL, ts TIMESTAMP(3), who ROW<name STRING, city STRING>, \
    items ARRAY<ROW<sku STRING, qty INT>>, tags MAP<STRING, INT>, price DECIMAL(10, 2)>";

const ROWS: &str = "SELECT CAST(1 AS BIGINT), TIMESTAMP '2024-01-01 00:03:00', ROW('Ada', 'London'), \
      ARRAY[ROW('a', 1), ROW('b', 2)], MAP['x', 1, 'y', 2], 1.5 \
    UNION ALL SELECT 2, TIMESTAMP '2024-01-01 00:12:00', ROW('Bob', 'Oslo'), ARRAY[ROW('c', 3)], MAP['x', 3], 20 \
    UNION ALL SELECT 3, NULL, NULL, NULL, NULL, NULL";

fn schema(row: &str) -> arrow::datatypes::SchemaRef {
    let DataType { kind: crate::sql::TypeKind::Row(fields), .. } = parse_type(row).expect("a type") else {
        panic!("a row")
    };
    let fields = fields.iter().map(|field| field.data_type.to_field(&field.name));
    Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}

/// A session in which `orders` has three rows, written through `plan_insert`.
async fn orders() -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(1);
    let context = SessionContext::new_with_state(session(config).build());
    let target = schema(ORDERS);
    let script = format!("INSERT INTO orders {ROWS}");
    let statement = parse_one(&script).expect("it parses").node;
    let Statement::Insert(insert) = statement else { panic!("an insert") };
    let plan = plan_insert(&insert, &target, &context.state(), &script).await.expect("it plans");
    let state = context.state();
    let physical = state.create_physical_plan(&plan).await.expect("it plans");
    let batches = collect(physical, context.task_ctx()).await.expect("it runs");
    let batches = batches.iter().map(|batch| coerce(batch, &target)).collect::<Result<Vec<_>, _>>();
    let batches = batches.expect("plan_insert has checked the types");
    let table = MemTable::try_new(target, vec![batches]).expect("a table");
    context.register_table("orders", Arc::new(table)).expect("a free name");
    context
}

async fn outcome(script: &str) -> String {
    let context = orders().await;
    let statement = match parse_one(script) {
        Ok(statement) => statement.node,
        Err(error) => return format!("NOT PARSED {error}"),
    };
    let state = context.state();
    let planned = match &statement {
        Statement::Query(query) => plan_query(query, &state, script).await,
        Statement::Insert(insert) => {
            let target = schema(ORDERS);
            plan_insert(insert, &target, &state, script).await
        }
        other => panic!("no case for {}", other.kind()),
    };
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) => return format!("NOT PLANNED {error}"),
    };
    let physical = match state.create_physical_plan(&plan).await {
        Ok(physical) => physical,
        Err(error) => return format!("NOT PLANNED {}", error.strip_backtrace()),
    };
    match collect(physical, context.task_ctx()).await {
        Ok(batches) if matches!(statement, Statement::Insert(_)) => {
            let target = schema(ORDERS);
            let coerced: Result<Vec<_>, _> = batches.iter().map(|batch| coerce(batch, &target)).collect();
            match coerced {
                Ok(batches) => pretty_format_batches(&batches).expect("it shows").to_string(),
                Err(error) => format!("FAILED {error}"),
            }
        }
        Ok(batches) => pretty_format_batches(&batches).expect("it shows").to_string(),
        Err(error) => format!("FAILED {}", error.strip_backtrace()),
    }
}

async fn check(script: &str, expected: Expect) {
    expected.assert_eq(&outcome(script).await);
}

#[tokio::test]
async fn rows_arrays_and_maps_keep_their_names() {
    check("SELECT * FROM orders ORDER BY id", expect![[r#"
        +----+---------------------+---------------------------+--------------------------------------+--------------+-------+
        | id | ts                  | who                       | items                                | tags         | price |
        +----+---------------------+---------------------------+--------------------------------------+--------------+-------+
        | 1  | 2024-01-01T00:03:00 | {name: Ada, city: London} | [{sku: a, qty: 1}, {sku: b, qty: 2}] | {x: 1, y: 2} | 1.50  |
        | 2  | 2024-01-01T00:12:00 | {name: Bob, city: Oslo}   | [{sku: c, qty: 3}]                   | {x: 3}       | 20.00 |
        | 3  |                     |                           |                                      |              |       |
        +----+---------------------+---------------------------+--------------------------------------+--------------+-------+"#]]).await;
}

#[tokio::test]
async fn casts_take_flink_types() {
    let script = "SELECT CAST(ROW(id, ROW('c')) AS ROW<x INT, y ROW<z STRING>>) AS r,
        CAST('7' AS SMALLINT) AS s, arrow_typeof(CAST(ts AS TIMESTAMP_LTZ(3))) AS l,
        arrow_typeof(CAST(id AS DECIMAL(5, 1))) AS d, TRY_CAST('x' AS INT) AS n,
        arrow_typeof(TIMESTAMP '2024-01-01 00:00:00') AS t
        FROM orders WHERE id = 2";
    check(
        script,
        expect![[r#"
        +-------------------+---+-------------------------+------------------+---+---------------+
        | r                 | s | l                       | d                | n | t             |
        +-------------------+---+-------------------------+------------------+---+---------------+
        | {x: 2, y: {z: c}} | 7 | Timestamp(µs, "+00:00") | Decimal128(5, 1) |   | Timestamp(µs) |
        +-------------------+---+-------------------------+------------------+---+---------------+"#]],
    )
    .await;
}

#[tokio::test]
async fn maps_of_constants_and_columns() {
    check(
        "SELECT MAP['k', id, 'l', NULL], MAP {'a': 1}['a'], make_map(id, who.name), MAP['k', id]['k'] FROM orders",
        expect![[r#"
            +--------------------------------------------+-------------------------------+------------------------------------+--------------------------------+
            | map_of(Utf8("k"),orders.id,Utf8("l"),NULL) | map_of(Utf8("a"),Int64(1))[a] | map_of(orders.id,orders.who[name]) | map_of(Utf8("k"),orders.id)[k] |
            +--------------------------------------------+-------------------------------+------------------------------------+--------------------------------+
            | {k: 1, l: }                                | 1                             | {1: Ada}                           | 1                              |
            | {k: 2, l: }                                | 1                             | {2: Bob}                           | 2                              |
            | {k: 3, l: }                                | 1                             | {3: }                              | 3                              |
            +--------------------------------------------+-------------------------------+------------------------------------+--------------------------------+"#]],
    )
    .await;
    check("SELECT MAP['k', 1, 'k', 2]", expect!["FAILED Execution error: a MAP has two equal keys"]).await;
    check("SELECT MAP[who.name, 1] FROM orders", expect!["FAILED Execution error: a key of a MAP is NULL"]).await;
    check(
        "SELECT MAP[1, 'a', 'x', 2]",
        expect![[r#"
        NOT PLANNED Optimizer rule 'simplify_expressions' failed
        caused by
        Arrow error: Cast error: Cannot cast string 'a' to value of Int64 type"#]],
    )
    .await;
}

#[tokio::test]
async fn names_keep_their_case_and_functions_have_none() {
    let script = "SELECT UPPER(who.name) AS Upper, Count(*) AS `Number Of`, SUM(id) FROM orders AS O \
                  GROUP BY UPPER(O.who.name) ORDER BY Upper";
    check(
        script,
        expect![[r#"
        +-------+-----------+-----------+
        | Upper | Number Of | sum(O.id) |
        +-------+-----------+-----------+
        | ADA   | 1         | 1         |
        | BOB   | 1         | 2         |
        |       | 1         | 3         |
        +-------+-----------+-----------+"#]],
    )
    .await;
    check(
        "SELECT ID FROM orders",
        expect![[r#"
        NOT PLANNED there is no column 'ID'
          --> line 1, column 8
           |
         1 | SELECT ID FROM orders
           |        ^^
           = did you mean 'id'?"#]],
    )
    .await;
}

#[tokio::test]
async fn unnest_of_a_column() {
    check(
        "SELECT o.id, i.sku, i.qty + 1 AS more FROM orders AS o CROSS JOIN UNNEST(o.items) AS i WHERE i.qty > 1",
        expect![[r#"
            +----+-----+------+
            | id | sku | more |
            +----+-----+------+
            | 1  | b   | 3    |
            | 2  | c   | 4    |
            +----+-----+------+"#]],
    )
    .await;
    check(
        "SELECT id, k, v, item.name FROM orders, UNNEST(tags) AS t (k, v), UNNEST(items) AS item (name, n) ORDER BY id, k, name",
        expect![[r#"
            +----+---+---+------+
            | id | k | v | name |
            +----+---+---+------+
            | 1  | x | 1 | a    |
            | 1  | x | 1 | b    |
            | 1  | y | 2 | a    |
            | 1  | y | 2 | b    |
            | 2  | x | 3 | c    |
            +----+---+---+------+"#]],
    )
    .await;
    check(
        "SELECT id, x FROM orders JOIN UNNEST(ARRAY[id, id * 2]) AS u (x) ON TRUE",
        expect![[r#"
            +----+---+
            | id | x |
            +----+---+
            | 1  | 1 |
            | 1  | 2 |
            | 2  | 2 |
            | 2  | 4 |
            | 3  | 3 |
            | 3  | 6 |
            +----+---+"#]],
    )
    .await;
    check(
        "SELECT x FROM UNNEST(ARRAY[1, 2]) AS u (x)",
        expect![[r#"
            +---+
            | x |
            +---+
            | 1 |
            | 2 |
            +---+"#]],
    )
    .await;
    check(
        "SELECT * FROM orders CROSS JOIN UNNEST(price) AS u (x)",
        expect![[r#"
            NOT PLANNED UNNEST takes an ARRAY or a MAP, and 'orders.price' is Decimal128(10, 2)
              --> line 1, column 40
               |
             1 | SELECT * FROM orders CROSS JOIN UNNEST(price) AS u (x)
               |                                        ^^^^^"#]],
    )
    .await;
    check(
        "SELECT * FROM orders CROSS JOIN UNNEST(items) AS u (x)",
        expect![[r#"
            NOT PLANNED UNNEST gives 2 columns, but 'u' names 1
              --> line 1, column 50
               |
             1 | SELECT * FROM orders CROSS JOIN UNNEST(items) AS u (x)
               |                                                  ^"#]],
    )
    .await;
}

#[tokio::test]
async fn fields_of_unnested_rows_are_theirs() {
    let script = "SELECT id, i.sku, i.at.x FROM (SELECT id, ARRAY[named_struct('sku', who.name, 'at', \
                  named_struct('x', id))] AS items FROM orders) AS o CROSS JOIN UNNEST(o.items) AS i \
                  WHERE i.at.x > 1 ORDER BY id";
    check(
        script,
        expect![[r#"
        +----+-----+---------+
        | id | sku | i.at[x] |
        +----+-----+---------+
        | 2  | Bob | 2       |
        | 3  |     | 3       |
        +----+-----+---------+"#]],
    )
    .await;
}

#[tokio::test]
async fn a_table_with_options_is_planned_under_its_own_name() {
    let script = "SELECT orders.id, o.id + 1 AS next FROM orders /*+ OPTIONS('a' = 'b') */ \
                  JOIN orders FOR SYSTEM_VERSION AS OF 7 AS o ON orders.id = o.id ORDER BY 1";
    let context = orders().await;
    let Statement::Query(query) = parse_one(script).expect("it parses").node else { panic!("a query") };
    for table in &query.tables {
        let provider = context.table_provider("orders").await.expect("it is there");
        let name = TableReference::bare(table.planned_name.as_str());
        context.register_table(name, provider).expect("a free name");
    }
    let plan = plan_query(&query, &context.state(), script).await.expect("it plans");
    let batches = context.execute_logical_plan(plan).await.expect("it plans");
    let batches = batches.collect().await.expect("it runs");
    let shown = pretty_format_batches(&batches).expect("it shows").to_string();
    expect![[r#"
        +----+------+
        | id | next |
        +----+------+
        | 1  | 2    |
        | 2  | 3    |
        | 3  | 4    |
        +----+------+"#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn windows_over_a_bounded_table() {
    check(
        "SELECT id, window_start, window_end, window_time \
         FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' MINUTES))",
        expect![[r#"
            +----+---------------------+---------------------+-------------------------+
            | id | window_start        | window_end          | window_time             |
            +----+---------------------+---------------------+-------------------------+
            | 1  | 2024-01-01T00:00:00 | 2024-01-01T00:10:00 | 2024-01-01T00:09:59.999 |
            | 2  | 2024-01-01T00:10:00 | 2024-01-01T00:20:00 | 2024-01-01T00:19:59.999 |
            +----+---------------------+---------------------+-------------------------+"#]],
    )
    .await;
    check(
        "SELECT id, window_start, window_end FROM TABLE(HOP(DATA => TABLE orders, TIMECOL => DESCRIPTOR(ts), \
         SIZE => INTERVAL '10' MINUTES, SLIDE => INTERVAL '5' MINUTES)) ORDER BY id, window_start",
        expect![[r#"
            +----+---------------------+---------------------+
            | id | window_start        | window_end          |
            +----+---------------------+---------------------+
            | 1  | 2023-12-31T23:55:00 | 2024-01-01T00:05:00 |
            | 1  | 2024-01-01T00:00:00 | 2024-01-01T00:10:00 |
            | 2  | 2024-01-01T00:05:00 | 2024-01-01T00:15:00 |
            | 2  | 2024-01-01T00:10:00 | 2024-01-01T00:20:00 |
            +----+---------------------+---------------------+"#]],
    )
    .await;
    check(
        "SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(CUMULATE((SELECT * FROM orders), DESCRIPTOR(ts), \
         INTERVAL '10' MINUTES, INTERVAL '30' MINUTES)) GROUP BY window_start, window_end ORDER BY 2",
        expect![[r#"
            +---------------------+---------------------+---+
            | window_start        | window_end          | n |
            +---------------------+---------------------+---+
            | 2024-01-01T00:00:00 | 2024-01-01T00:10:00 | 1 |
            | 2024-01-01T00:00:00 | 2024-01-01T00:20:00 | 2 |
            | 2024-01-01T00:00:00 | 2024-01-01T00:30:00 | 2 |
            +---------------------+---------------------+---+"#]],
    )
    .await;
    check(
        "SELECT id, window_start FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL '8' HOURS))",
        expect![[r#"
            +----+---------------------+
            | id | window_start        |
            +----+---------------------+
            | 1  | 2023-12-31T08:00:00 |
            | 2  | 2023-12-31T08:00:00 |
            +----+---------------------+"#]],
    )
    .await;
    check(
        "SELECT id FROM TABLE(HOP(TABLE orders, DESCRIPTOR(ts), INTERVAL '3' MINUTES, INTERVAL '10' MINUTES))",
        expect![[r#"
            NOT PLANNED the size of the windows has to be a multiple of the slide
              --> line 1, column 22
               |
             1 | SELECT id FROM TABLE(HOP(TABLE orders, DESCRIPTOR(ts), INTERVAL '3' MINUTES, INTERVAL '10' MINUTES))
               |                      ^^^"#]],
    )
    .await;
    check(
        "SELECT id FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(id), INTERVAL '3' MINUTES))",
        expect![[r#"
            NOT PLANNED the time column is BIGINT, but has to be a TIMESTAMP
              --> line 1, column 22
               |
             1 | SELECT id FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(id), INTERVAL '3' MINUTES))
               |                      ^^^^^^"#]],
    )
    .await;
    check(
        "SELECT id FROM TABLE(TUMBLE(TABLE orders, ts, INTERVAL '1' MONTH))",
        expect![[r#"
            NOT PLANNED the time column is written as DESCRIPTOR(column), not 'ts'
              --> line 1, column 43
               |
             1 | SELECT id FROM TABLE(TUMBLE(TABLE orders, ts, INTERVAL '1' MONTH))
               |                                           ^^"#]],
    )
    .await;
}

#[tokio::test]
async fn inserts_fit_the_table() {
    check(
        "INSERT INTO orders (id, price) VALUES (7, 8)",
        expect![[r#"
            +----+----+-----+-------+------+-------+
            | id | ts | who | items | tags | price |
            +----+----+-----+-------+------+-------+
            | 7  |    |     |       |      | 8.00  |
            +----+----+-----+-------+------+-------+"#]],
    )
    .await;
    check(
        "INSERT INTO orders (price) VALUES (8)",
        expect![[r#"
        NOT PLANNED the column 'id' is NOT NULL and gets no value
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO orders (price) VALUES (8)
           |             ^^^^^^"#]],
    )
    .await;
    check(
        "INSERT INTO orders (id, prize) VALUES (7, 8)",
        expect![[r#"
            NOT PLANNED orders has no column 'prize'
              --> line 1, column 25, in INSERT
               |
             1 | INSERT INTO orders (id, prize) VALUES (7, 8)
               |                         ^^^^^
               = did you mean 'price'?"#]],
    )
    .await;
    check(
        "INSERT INTO orders SELECT 1, 2",
        expect![[r#"
        NOT PLANNED the query has 2 columns, but orders takes 6
          --> line 1, column 13, in INSERT
           |
         1 | INSERT INTO orders SELECT 1, 2
           |             ^^^^^^
           = the query has (Int64(1), Int64(2)), the table (id, ts, who, items, tags, price)"#]],
    )
    .await;
    check(
        "INSERT INTO orders (id, ts)\nSELECT id,\n  who.name FROM orders",
        expect![[r#"
            NOT PLANNED the value does not fit the column 'ts'
              --> line 3, column 3, in INSERT
               |
             3 |   who.name FROM orders
               |   ^^^^^^^^
               = STRING is not converted to TIMESTAMP(6) by itself; write CAST(… AS TIMESTAMP(6))"#]],
    )
    .await;
    check(
        "INSERT INTO orders (id, who) SELECT id, ROW(1, 'x', 'y') FROM orders",
        expect![[r#"
            NOT PLANNED the value does not fit the column 'who'
              --> line 1, column 41, in INSERT
               |
             1 | INSERT INTO orders (id, who) SELECT id, ROW(1, 'x', 'y') FROM orders
               |                                         ^^^^^^^^^^^^^^^
               = 3 fields are given, but 2 are wanted"#]],
    )
    .await;
    check(
        "INSERT INTO orders (id, who) SELECT id, named_struct('name', 'x') FROM orders",
        expect![[r#"
            NOT PLANNED the value does not fit the column 'who'
              --> line 1, column 41, in INSERT
               |
             1 | INSERT INTO orders (id, who) SELECT id, named_struct('name', 'x') FROM orders
               |                                         ^^^^^^^^^^^^^^^^^^^^^^^^
               = 1 fields are given, but 2 are wanted"#]],
    )
    .await;
    check(
        "INSERT INTO orders (id, who) SELECT 9, named_struct('city', 'x', 'name', 'y')",
        expect![[r#"
            +----+----+--------------------+-------+------+-------+
            | id | ts | who                | items | tags | price |
            +----+----+--------------------+-------+------+-------+
            | 9  |    | {name: x, city: y} |       |      |       |
            +----+----+--------------------+-------+------+-------+"#]],
    )
    .await;
    check(
        "INSERT INTO orders PARTITION (id = 1) SELECT 1",
        expect![[r#"
            NOT PLANNED the query has 1 columns, but orders takes 5
              --> line 1, column 13, in INSERT
               |
             1 | INSERT INTO orders PARTITION (id = 1) SELECT 1
               |             ^^^^^^
               = the query has (Int64(1)), the table (ts, who, items, tags, price)"#]],
    )
    .await;
}

#[tokio::test]
async fn mistakes_have_their_place() {
    check(
        "SELECT id,\n  pricee FROM orders",
        expect![[r#"
        NOT PLANNED there is no column 'pricee'
          --> line 2, column 3
           |
         2 |   pricee FROM orders
           |   ^^^^^^
           = did you mean 'price'?"#]],
    )
    .await;
    check(
        "SELECT id\nFROM order_s",
        expect![[r#"
        NOT PLANNED table 'order_s' not found
          --> line 2, column 6
           |
         2 | FROM order_s
           |      ^^^^^^^"#]],
    )
    .await;
    check(
        "SELECT nofunction(id) FROM orders",
        expect![[r#"
            NOT PLANNED invalid function 'nofunction'
              --> line 1, column 8
               |
             1 | SELECT nofunction(id) FROM orders
               |        ^^^^^^^^^^"#]],
    )
    .await;
    check(
        "SELECT o.id FROM orders AS o JOIN orders ON o.id = orders.idd",
        expect![[r#"
            NOT PLANNED there is no column 'orders.idd'
              --> line 1, column 52
               |
             1 | SELECT o.id FROM orders AS o JOIN orders ON o.id = orders.idd
               |                                                    ^^^^^^^^^^
               = did you mean 'id'?"#]],
    )
    .await;
}

#[test]
fn streaming_refuses_what_it_can_not_run() {
    let script = "SELECT *\nFROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))";
    let Statement::Query(query) = parse_one(script).expect("it parses").node else { panic!() };
    let error = query.check_streaming(script).expect_err("a window").to_string();
    expect![[r#"
        a window table function (TUMBLE, HOP, CUMULATE, SESSION) can't run over a stream yet
          --> line 2, column 12
           |
         2 | FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))
           |            ^^^^^^
           = it comes later; in batch mode it works: --mode batch"#]]
    .assert_eq(&error);
}
