//! Which of the valid names somebody may have meant.

/// The names that are close to `given`, nearest first, at most `max`.
///
/// Two names are close when the edits between them are at most a third of the longer one, or when one holds the other
/// (`bootstrap.servers` for `properties.bootstrap.servers`). Case and the difference of `-`, `_` and `.` don't count.
pub fn nearest<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>, max: usize) -> Vec<&'a str> {
    let given = folded(given);
    let mut found: Vec<(usize, &str)> =
        valid.into_iter().filter_map(|name| distance(&given, &folded(name)).map(|distance| (distance, name))).collect();
    found.sort();
    found.dedup();
    found.into_iter().take(max).map(|(_, name)| name).collect()
}

/// The one nearest name.
pub fn nearest_one<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(given, valid, 1).pop()
}

/// Names in quotes with commas and a last `or`: `'a', 'b' or 'c'`.
pub fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

fn folded(name: &str) -> String {
    name.chars().map(|c| if matches!(c, '_' | '.') { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn distance(given: &str, name: &str) -> Option<usize> {
    let longer = given.chars().count().max(name.chars().count());
    let edits = strsim::damerau_levenshtein(given, name);
    if edits * 3 <= longer {
        return Some(edits);
    }
    let shorter = given.len().min(name.len());
    (shorter >= 4 && (name.contains(given) || given.contains(name))).then_some(longer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_first() {
        let valid = ["path", "format", "topic", "properties.bootstrap.servers"];
        assert_eq!(nearest("pth", valid, 3), ["path"]);
        assert_eq!(nearest("fromat", valid, 3), ["format"]);
        assert_eq!(nearest("bootstrap.servers", valid, 3), ["properties.bootstrap.servers"]);
        assert_eq!(nearest("Topic", valid, 3), ["topic"]);
        assert!(nearest("zzz", valid, 3).is_empty());
        // a hostile length is answered, not computed for ever
        assert!(nearest("x", ["y"], 3).is_empty());
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(one_of(&["a"]), "'a'");
        assert_eq!(one_of(&["a", "b", "c"]), "'a', 'b' or 'c'");
    }
}
