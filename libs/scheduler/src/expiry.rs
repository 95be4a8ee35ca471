//! What time alone brings about: last words are forgotten. (Retries ripen with every input.)

use std::time::Duration;

use packline_domain::record::Key;

use crate::step::Step;

/// How long a published or cancelled package is remembered after it was last announced.
pub(crate) const KEPT: Duration = Duration::from_hours(31 * 24);

impl Step<'_> {
    pub(crate) fn time_passed(&mut self, limit: usize) {
        for (announced_at, name) in self.state.packages.settled.iter().take(limit) {
            if announced_at.after(KEPT) > self.now.at {
                return;
            }
            self.delete(Key::Queue(name.clone()));
            if self.retries(name).is_some() {
                self.delete(Key::Retries(name.clone()));
            }
        }
    }
}
