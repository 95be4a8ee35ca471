//! What an announcement does: the contract's table, row by row.

use std::{collections::BTreeMap, time::Duration};

use packline_domain::{
    Command, Package, PackageName, PackagePath, SCHEMA,
    control::Origin,
    record::{Ending, Intended, Intention, Queue, State},
};

use crate::{Refusal, input::Slice, step::Step, text::counted};

/// A last word is noted as announced again at most this often, so that a poll that names a thousand
/// published packages does not rewrite a thousand records.
const NOTED: Duration = Duration::from_hours(24);

/// What became of one announced package.
enum Fate {
    Queued,
    Again,
    Replaced,
    Ignored,
}

/// Of one announcement, what all its packages share.
struct Source {
    /// The commit whose outcomes the catalogue knew; none when announced by hand.
    reported_through: Option<u64>,
    /// What was decided by a commit later than this came after the announcement.
    began: u64,
}

impl Source {
    /// Whether an operator or the announcer's own tool says it, and no poll.
    fn by_hand(&self) -> bool {
        self.reported_through.is_none()
    }
}

impl Step<'_> {
    pub(crate) fn announced(
        &mut self,
        packages: Vec<Package>,
        reported_through: Option<u64>,
        slice: Option<Slice>,
    ) -> Result<(), Refusal> {
        let source = Source { reported_through, began: self.begin_slice(slice)? };
        let (mut queued, mut again, mut replaced, mut ignored) = (0, 0, 0, 0);
        let mut named = None;
        let mut ignored_fields: BTreeMap<&'static str, (PackageName, String, usize)> = BTreeMap::new();
        let before = self.state.packages.counts.waiting();
        for package in packages {
            let name = package.name.clone();
            let newly_ignored = self.newly_ignored(&package);
            let fate = self.announce(package, &source);
            match fate {
                Fate::Queued => queued += 1,
                Fate::Again => again += 1,
                Fate::Replaced => replaced += 1,
                Fate::Ignored => {
                    ignored += 1;
                    continue;
                }
            }
            for (field, why) in newly_ignored {
                let first = ignored_fields.entry(field);
                first.and_modify(|(.., others)| *others += 1).or_insert_with(|| (name.clone(), why, 0));
            }
            if !matches!(fate, Fate::Replaced) {
                named = Some(name);
            }
        }
        self.tell_ignored(&ignored_fields);
        let Some(name) = named else { return Ok(()) };
        let mut message = if queued + again == 1 && again == 0 {
            format!("queued {name}")
        } else {
            format!("queued {}", counted(queued, "package"))
        };
        for (count, what) in [(again, "to be built again"), (replaced, "waiting already"), (ignored, "ignored")] {
            if count > 0 {
                message.push_str(&format!(", {count} {what}"));
            }
        }
        message.push_str(&format!("; {} in the queue", before + queued));
        let about = (queued + again == 1).then_some(&name);
        self.tell_command("queued", about, &Origin::default(), message);
        Ok(())
    }

    /// The fields of an announced package that are ignored, where its record does not have them so already.
    fn newly_ignored(&self, package: &Package) -> Vec<(&'static str, String)> {
        let mut ignored = package.ignored_fields();
        if let Some(known) = self.queue(&package.name).filter(|_| !ignored.is_empty()) {
            let known = known.package.ignored_fields();
            ignored.retain(|field| !known.contains(field));
        }
        ignored
    }

    /// One event for each field of all packages of an announcement: there may be very many.
    fn tell_ignored(&mut self, ignored: &BTreeMap<&'static str, (PackageName, String, usize)>) {
        for (field, (name, why, others)) in ignored {
            let others = match others {
                0 => String::new(),
                1 => ", like that of 1 other package".to_owned(),
                more => format!(", like those of {more} other packages"),
            };
            let (kind, then) = match *field {
                "path" => ("pathIgnored", format!("it is built in {}", PackagePath::of_name(name))),
                _ => ("buildAfterIgnored", "it waits for its dependencies alone".to_owned()),
            };
            let message = format!("the {field} of {name} is ignored{others}; {then}: {why}");
            self.tell(kind, name, None, message);
        }
    }

    /// Notes how far a long announcement has come; the commit that began it.
    fn begin_slice(&mut self, slice: Option<Slice>) -> Result<u64, Refusal> {
        let commit = self.now.commit;
        let Some(slice) = slice else {
            return match self.intention().and_then(Intention::announcement) {
                Some((Intention { stream, sequence, .. }, _)) => {
                    Err(Refusal::Busy { stream: stream.clone(), sequence: *sequence })
                }
                None => Ok(commit),
            };
        };
        let standing = self.intention().and_then(|standing| standing.announcement().or(Some((standing, 0))));
        let began = match standing {
            None => None,
            Some((Intention { what: Intended::Announce { .. }, stream, sequence, commit, .. }, done))
                if *stream == slice.stream && *sequence == slice.sequence =>
            {
                if slice.done < done {
                    return Err(Refusal::SliceDone { done });
                }
                Some(*commit)
            }
            Some((other, _)) => return Err(Refusal::Busy { stream: other.stream.clone(), sequence: other.sequence }),
        };
        let intention = Intention {
            schema: SCHEMA,
            stream: slice.stream,
            sequence: slice.sequence,
            commit: began.unwrap_or(commit),
            what: Intended::Announce { done: slice.done },
            interrupted: Vec::new(),
        };
        match (began, slice.last) {
            (_, true) => self.forget(&intention),
            (Some(_), false) => self.advance(&intention),
            (None, false) => self.put_intention(intention.clone()),
        }
        Ok(intention.commit)
    }

    fn announce(&mut self, package: Package, source: &Source) -> Fate {
        let Some(old) = self.queue(&package.name).cloned() else {
            self.queue_afresh(Queue {
                schema: SCHEMA,
                package,
                state: State::Queued,
                arrival: 0,
                queued_at: self.now.at,
                announced_at: self.now.at,
                commit: self.now.commit,
                status_commit: 0,
            });
            return Fate::Queued;
        };
        let came_later = old.commit > source.began;
        match old.state {
            State::Queued | State::Retrying { .. } => self.replace_data(old, package),
            State::Building { permit, again, .. } => self.announce_building(old, permit, again, package, source),
            State::Published { .. } | State::Failed { .. } => {
                let unknown = source.reported_through.is_some_and(|through| old.status_commit > through);
                // It was building when this was announced: then other data mean once more.
                let is_news = source.by_hand() && old.package.builds_differently(&package);
                if (came_later && !is_news) || unknown { self.note(old) } else { self.announce_afresh(old, package) }
            }
            State::Cancelled { .. } => {
                if came_later || !source.by_hand() {
                    self.note(old)
                } else {
                    self.announce_afresh(old, package)
                }
            }
        }
    }

    fn announce_afresh(&mut self, old: Queue, package: Package) -> Fate {
        self.queue_afresh(Queue { package, announced_at: self.now.at, ..old });
        Fate::Queued
    }

    /// The newest data replace the old; nothing is written where they are the same.
    fn replace_data(&mut self, old: Queue, package: Package) -> Fate {
        if old.package == package {
            return self.note(old);
        }
        self.put_queue(Queue { package, announced_at: self.now.at, ..old });
        Fate::Replaced
    }

    fn announce_building(&mut self, old: Queue, number: u32, again: bool, package: Package, source: &Source) -> Fate {
        let differs = old.package.builds_differently(&package);
        let pending = self.cancel_pending(&old).is_some();
        let cancelled_in = if pending { self.intention().map_or(0, |cancel| cancel.commit) } else { old.commit };
        let ending = self.permit(number).and_then(|permit| permit.ending.clone());
        let ends_cancelled = match ending {
            Some(Ending::Cancel(_)) => true,
            Some(Ending::Stop | Ending::Deadline) | None => false,
        };
        if (pending || ends_cancelled) && (!source.by_hand() || cancelled_in > source.began) {
            return Fate::Ignored;
        }
        if ends_cancelled {
            self.stop_instead_of_cancel(number);
        }
        if pending {
            // What is announced after a cancel is wanted, also where one commit carries both.
            let cancel = Command::Cancel { package_name: old.package.name.clone() };
            self.complete(&cancel);
        }
        if differs && !again {
            let State::Building { build_id, permit, .. } = old.state.clone() else { return Fate::Ignored };
            let state = State::Building { build_id, permit, again: true };
            self.put_queue(Queue { package, state, announced_at: self.now.at, ..old });
            return Fate::Again;
        }
        if pending || ends_cancelled {
            // Written even where the data are the same: a younger record is what ends a cancel by law 6.
            self.put_queue(Queue { package, announced_at: self.now.at, ..old });
            return Fate::Replaced;
        }
        self.replace_data(old, package)
    }

    /// A cancelled build whose package is wanted again is only stopped, and queued when it is gone.
    pub(crate) fn stop_instead_of_cancel(&mut self, number: u32) {
        let Some(mut permit) = self.permit(number).cloned() else { return };
        self.renew_attempts(&permit.package_name.clone());
        permit.ending = Some(Ending::Stop);
        self.put_permit(number, permit);
    }

    fn note(&mut self, old: Queue) -> Fate {
        if self.now.at.since(old.announced_at) >= NOTED {
            self.put_queue(Queue { announced_at: self.now.at, ..old });
        }
        Fate::Ignored
    }
}
