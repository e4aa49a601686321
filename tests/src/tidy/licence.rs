//! SPDX licence expressions: whether one can be met with licences from a list.

use std::collections::BTreeMap;

/// Whether the expression can be met with allowed licences alone; ones that were needed are marked as used.
///
/// Reads `A OR B`, the older `A/B`, `A AND B`, `A WITH exception` and parentheses; AND binds tighter than OR. An
/// expression that it cannot read is not met.
pub(crate) fn is_met(expression: &str, allowed: &mut BTreeMap<String, bool>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed };
    let met = parser.alternatives();
    parser.words.is_empty() && met == Some(true)
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a mut BTreeMap<String, bool>,
}

impl Parser<'_> {
    fn alternatives(&mut self) -> Option<bool> {
        let mut met = self.conjunction()?;
        while self.take("OR") {
            // Every part is read, met or not.
            met |= self.conjunction()?;
        }
        Some(met)
    }

    fn conjunction(&mut self) -> Option<bool> {
        let mut met = self.licence()?;
        while self.take("AND") {
            met &= self.licence()?;
        }
        Some(met)
    }

    fn licence(&mut self) -> Option<bool> {
        if self.take("(") {
            let met = self.alternatives();
            return if self.take(")") { met } else { None };
        }
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        let mut name = (*first).to_owned();
        if self.take("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            name = format!("{name} WITH {exception}");
        }
        Some(match self.allowed.get_mut(&name) {
            Some(used) => {
                *used = true;
                true
            }
            None => false,
        })
    }

    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_allowed_licences_alone() {
        let met = |expression| {
            let mut allowed = ["MIT", "Apache-2.0"].map(|name| (name.to_owned(), false)).into();
            is_met(expression, &mut allowed)
        };
        assert!(met("MIT"));
        assert!(met("GPL-3.0 OR MIT"));
        assert!(met("Unlicense/MIT"));
        assert!(met("(MIT OR GPL-3.0) AND Apache-2.0"));
        assert!(!met("MIT AND GPL-3.0"));
        assert!(!met("GPL-3.0 OR MIT AND AGPL-3.0"));
        assert!(!met("MIT WITH some-exception"));
        assert!(!met("(MIT"));
        assert!(!met("MIT Apache-2.0"));
        assert!(!met(""));
    }
}
