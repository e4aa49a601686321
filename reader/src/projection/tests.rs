use expect_test::{Expect, expect};

use super::*;

fn schema() -> Schema {
    serde_json::from_str(
        r#"{"type":"struct","fields":[
        {"id":1,"name":"id","required":true,"type":"long"},
        {"id":2,"name":"a","required":false,"type":{"type":"struct","fields":[
            {"id":3,"name":"b","required":false,"type":{"type":"struct","fields":[
                {"id":4,"name":"c","required":false,"type":"int"},
                {"id":5,"name":"d","required":false,"type":"int"}]}},
            {"id":6,"name":"e.f","required":false,"type":"int"}]}},
        {"id":7,"name":"items","required":false,"type":{"type":"list","element-id":8,"element-required":true,
            "element":{"type":"struct","fields":[
                {"id":9,"name":"price","required":false,"type":"int"},
                {"id":10,"name":"element","required":false,"type":"int"}]}}},
        {"id":11,"name":"m","required":false,"type":{"type":"map","key-id":12,"key":"string","value-id":13,
            "value-required":false,"value":{"type":"struct","fields":[
                {"id":14,"name":"x","required":false,"type":"int"},
                {"id":15,"name":"key","required":false,"type":"int"}]}}}]}"#,
    )
    .unwrap()
}

fn render(r#type: &Type) -> String {
    match r#type {
        Type::Primitive(_) => String::new(),
        Type::Struct(fields) => {
            let fields = fields.fields().iter().map(|f| format!("{}{}", f.name, render(&f.field_type)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
        }
        Type::List(list) => format!("[{}]", render(&list.element_field.field_type)),
        Type::Map(map) => format!("<{}>", render(&map.value_field.field_type)),
    }
}

fn check(paths: &[&str], expected: Expect) {
    let shown = match project(&schema(), &Projection::paths(paths.iter().copied())) {
        Ok(projected) => render(&Type::Struct(projected.schema().as_struct().clone())),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn columns_come_in_the_order_of_the_request_and_leaves_in_the_order_of_the_table() {
    check(&[], expect!["{}"]);
    check(&["a.b.d", "id", "a.b.c"], expect!["{a{b{c d}} id}"]);
    check(&["a.e.f", "a.b"], expect!["{a{b{c d} e.f}}"]);
    check(&["a.b.c", "a"], expect!["{a{b{c d} e.f}}"]);
    check(&["_pos", "id", "_file"], expect!["{_pos id _file}"]);
}

#[test]
fn lists_and_maps_may_be_named_with_and_without_their_parts() {
    check(&["items.price"], expect!["{items[{price}]}"]);
    check(&["items.element.price"], expect!["{items[{price}]}"]);
    check(&["items.element"], expect!["{items[{price element}]}"]);
    check(&["items.element.element"], expect!["{items[{element}]}"]);
    check(&["m.x"], expect!["{m<{x}>}"]);
    check(&["m.value.key"], expect!["{m<{key}>}"]);
    check(&["m.key"], expect!["{m<{x key}>}"]);
}

#[test]
fn a_path_that_is_not_there_names_the_nearest_ones() {
    check(&["a.b.cc"], expect![[r#"there is no column "a.b.cc"; the nearest are a.b.c, a.b.d, a.b"#]]);
    check(
        &["items.prise"],
        expect![[r#"there is no column "items.prise"; the nearest are items.element.price, items, items.element"#]],
    );
    check(&["id.x"], expect![[r#"there is no column "id.x"; the nearest are m.value.x, id, items.element.price"#]]);
}
