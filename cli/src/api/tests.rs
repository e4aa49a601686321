use std::collections::BTreeSet;

use super::*;

#[test]
fn the_description_has_every_route_and_no_other() {
    let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
    let paths = described["paths"].as_object().unwrap();
    let methods = ["get", "post", "put", "delete", "head", "patch"];
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().keys().filter(|key| methods.contains(&key.as_str()));
            operations.map(|method| (path.clone(), method.clone())).collect::<Vec<_>>()
        })
        .collect();
    let served = routes();
    let served = served
        .iter()
        .flat_map(|(path, methods, _)| methods.iter().map(|method| ((*path).to_owned(), (*method).to_owned())));
    assert_eq!(served.collect::<BTreeSet<_>>(), described);
}

#[test]
fn a_namespace_has_its_levels_parted_by_dots_or_as_in_the_protocol() {
    let ident = |namespace: &str| {
        let path = [("namespace", namespace), ("table", "t")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        table_of(&path.into())
    };
    assert_eq!(ident("a.b").unwrap().namespace.as_ref(), &vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(ident("a.b\u{1f}c").unwrap().namespace.as_ref(), &vec!["a.b".to_owned(), "c".to_owned()]);
    ident("a..b").unwrap_err();
}
