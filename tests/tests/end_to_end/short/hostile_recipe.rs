//! 2,000 hostile names in a recipe: each is refused in one line with its place, or is a word that leads nowhere.
use std::path::{Component, Path};

use packline_recipe::{Phase, Problem, Recipe, When};
use packline_tests::hostile_names;

const NAMES: usize = 2000;

/// A text as TOML quotes it, nearly: what TOML does not take is refused as well.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// Each problem is one line for a person, at a place in the text.
fn assert_said(problems: &[Problem], text: &str) {
    assert!(!problems.is_empty());
    for problem in problems {
        let line = problem.to_string();
        assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?} of {text:?}");
    }
}

fn parsed(text: &str, sound: impl FnOnce(&Recipe)) -> bool {
    match Recipe::parse(text) {
        Ok(recipe) => {
            sound(&recipe);
            true
        }
        Err(problems) => {
            assert_said(&problems, text);
            false
        }
    }
}

fn only(recipe: &Recipe) -> &Phase {
    recipe.phases.as_deref().and_then(<[Phase]>::first).unwrap()
}

#[test]
fn in_a_recipe_each_is_refused_with_its_place_or_leads_nowhere() {
    let (mut taken, mut refused) = (0, 0);
    let mut count = |accepted: bool| if accepted { taken += 1 } else { refused += 1 };
    for name in hostile_names(NAMES) {
        let text = quoted(&name);
        count(parsed(&format!("[[phase]]\nname = {text}\nrun = [\"true\"]\n"), |recipe| {
            let name = &only(recipe).name;
            assert!(!name.is_empty() && !name.chars().any(char::is_control), "{name:?} is a header and a variable");
        }));
        count(parsed(
            &format!("[[phase]]\nname = \"a\"\nrun = [\"true\"]\nwhen = {}\n", quoted(&format!("file:{name}"))),
            |recipe| {
                let Some(When::File(file)) = &only(recipe).when else { panic!("{name:?} is a file") };
                let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
                assert!(Path::new(file).components().all(inside) && !file.contains('\0'), "{file:?} leads out");
            },
        ));
        count(parsed(&format!("[[category.{text}.phase]]\nname = \"a\"\nrun = [\"true\"]\n"), |recipe| {
            assert!(recipe.categories.keys().all(|category| category.len() <= 200), "as the domain limits it");
        }));
        count(parsed(&format!("[[phase]]\nname = \"a\"\nrun = [\"true\"]\nenv = {{ {text} = \"x\" }}\n"), |recipe| {
            for key in only(recipe).env.keys() {
                assert!(!key.is_empty() && !key.contains(['=', '\0']), "{key:?} is no variable");
                assert!(!["NPM_TOKEN", "PACKAGE_NAME", "PHASE", "HOME"].contains(&key.as_str()), "{key} is ours");
            }
        }));
    }
    assert!(taken > 0 && refused > 1000, "{taken} taken, {refused} refused");
}
