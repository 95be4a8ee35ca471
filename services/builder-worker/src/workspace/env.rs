//! What keys of layers have of the variables that a recipe sets.

use std::collections::BTreeMap;

use packline_recipe::Phase;
use serde_json::json;

/// What the key of a layer that a phase makes has of the variables that the recipe sets for it; `None` where there are
/// none, so that the key is that of a recipe without.
pub(super) fn of_phase(env: &BTreeMap<String, String>) -> Option<String> {
    (!env.is_empty()).then(|| json!(env).to_string())
}

/// The same for what a whole build leaves.
pub(super) fn of_build(phases: &[Phase]) -> Option<String> {
    let set: Vec<_> =
        phases.iter().filter(|phase| !phase.env.is_empty()).map(|phase| (&phase.name, &phase.env)).collect();
    (!set.is_empty()).then(|| json!(set).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    use packline_recipe::Recipe;

    #[test]
    fn other_variables_are_another_key_and_none_are_no_part_of_it() {
        let of = |env: &[(&str, &str)]| {
            of_phase(&env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(of(&[]), None);
        let all = [of(&[("A", "1")]), of(&[("A", "2")]), of(&[("B", "1")]), of(&[("A", "1"), ("B", "1")])];
        for (at, one) in all.iter().enumerate() {
            assert!(one.is_some() && all.iter().skip(at + 1).all(|other| other != one), "{all:?}");
        }
    }

    #[test]
    fn what_a_build_leaves_depends_on_the_variables_of_each_phase() {
        let phases = |first: &str, second: &str| {
            let phase = |name: &str, env: &str| format!("[[phase]]\nname = \"{name}\"\nrun = [\"true\"]\n{env}\n");
            let recipe = Recipe::parse(&[phase("one", first), phase("two", second)].concat()).unwrap();
            of_build(recipe.phases("").unwrap())
        };
        assert_eq!(phases("", ""), None);
        let set = "env = { A = \"1\" }";
        let (first, second) = (phases(set, ""), phases("", set));
        assert!(first.is_some() && second.is_some() && first != second);
    }
}
