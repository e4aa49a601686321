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
    let ours = routes().into_iter().map(|(path, methods, _)| (path, methods));
    let served = ours.chain(frazil_catalog::server::api_routes()).flat_map(|(path, methods)| {
        methods.iter().map(|method| (path.to_owned(), (*method).to_owned())).collect::<Vec<_>>()
    });
    assert_eq!(served.collect::<BTreeSet<_>>(), described);
}
