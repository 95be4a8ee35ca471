//! What is said of something that fails again and again: each reason once, until it works. Pure.

use std::collections::BTreeSet;

/// So many reasons are told apart; who finds more of them says nothing new.
const REASONS: usize = 8;

/// Failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: u32,
    said: BTreeSet<String>,
}

/// Whether there is something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It failed for a reason that was not said yet.
    New,
    /// It failed as before.
    Known,
    /// It worked, after so many failures.
    Over(u32),
    /// It worked as before.
    Nothing,
}

impl Failures {
    /// How many there were since it worked last.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// One more try: why it failed, or that it did not.
    pub(crate) fn note(&mut self, error: Option<&str>) -> Told {
        let Some(error) = error else {
            let over = std::mem::take(self).count;
            return if over > 0 { Told::Over(over) } else { Told::Nothing };
        };
        self.count = self.count.saturating_add(1);
        if self.said.len() < REASONS && self.said.insert(error.to_owned()) { Told::New } else { Told::Known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_until_it_works_again() {
        let mut failures = Failures::default();
        let told: Vec<Told> = ["down", "down", "rubbish", "down"].map(|error| failures.note(Some(error))).to_vec();
        assert_eq!(told, [Told::New, Told::Known, Told::New, Told::Known]);
        assert_eq!((failures.note(None), failures.count()), (Told::Over(4), 0));
        assert_eq!((failures.note(None), failures.note(Some("down"))), (Told::Nothing, Told::New));
        let new = (0..1000).filter(|n| failures.note(Some(&n.to_string())) == Told::New).count();
        assert!(new < REASONS);
    }
}
