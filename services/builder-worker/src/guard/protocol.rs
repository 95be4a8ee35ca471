//! What a worker tells its guard, and what the guard answers: JSON lines down, binary frames up.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// One line on the guard's stdin.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "order")]
pub(super) enum Order {
    /// Start this phase; the answer is output and then one [`PhaseEnd`].
    Run(Box<PhaseRun>),
    /// Kill everything once CLOCK_BOOTTIME has passed this; without one no phase starts.
    Fuse {
        /// In milliseconds.
        deadline: u64,
    },
    /// Kill everything now; no phase starts any more.
    Stop,
}

/// One phase, with all that its processes get to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseRun {
    /// The program and its arguments, started without a shell.
    pub argv: Vec<String>,
    /// Where it starts; may lie in the view.
    pub cwd: PathBuf,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// The longest it may take, in milliseconds.
    pub timeout_millis: u64,
    /// The longest it may print nothing, in milliseconds.
    pub silence_millis: Option<u64>,
    /// The most it may print, in bytes.
    pub output_limit: u64,
    /// What its processes may not write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<Protected>,
    /// What its processes see in place of one folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<View>,
    /// What the command reads on its stdin, which is empty otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// It is not started where the fuse blows within so many milliseconds.
    #[serde(default)]
    pub spare_millis: u64,
}

/// What a command reads on its stdin. It may be secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Input(pub String);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({} bytes)", self.0.len())
    }
}

/// A folder that is mounted read-only for a build, where the machine allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protected {
    /// The folder, resolved.
    pub folder: PathBuf,
    /// Stays writable, also where it lies in the folder; resolved.
    pub except: PathBuf,
}

/// An overlay of folders, mounted for the processes of one phase alone.
///
/// All paths are absolute. Nobody else may write to `upper` or `work` meanwhile; the phase does not start where
/// another one has the same `upper`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Where it is seen: a folder that is there.
    pub at: PathBuf,
    /// What it shows, never written to; the first one covers the others. At least one.
    pub lower: Vec<PathBuf>,
    /// Takes what the phase writes, and covers all of `lower`. Created where it is missing; it outlives the phase.
    /// A file beside it, of its name with `.lock`, is its lock.
    pub upper: PathBuf,
    /// The kernel's own, on the file system of `upper`. Recreated for each phase.
    pub work: PathBuf,
}

/// How a phase ended; when this is said, none of its processes is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "how")]
pub enum PhaseEnd {
    /// By itself; 128 and more: by that signal.
    Exited {
        /// Its exit status.
        status: i32,
    },
    /// Killed: it took too long.
    TimedOut,
    /// Killed: it printed nothing for too long.
    Silent,
    /// Killed: it printed too much.
    TooMuchOutput,
    /// Killed on order, or not started because of one.
    Stopped,
    /// Killed by the fuse, or not started because of it.
    FuseBlown,
    /// The machine could not start it.
    Unstartable {
        /// What it said.
        error: String,
    },
}

/// Kind of a frame that carries output as it came.
pub(super) const OUTPUT: u8 = b'o';
/// Kind of a frame that carries a [`PhaseEnd`] as JSON.
pub(super) const ENDED: u8 = b'e';
/// Bytes before the payload of a frame: its kind and the payload's length, little endian.
pub(super) const HEADER: usize = 5;

/// Appends one frame.
pub(super) fn push_frame(buffer: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    buffer.push(kind);
    buffer.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    buffer.extend_from_slice(payload);
}

/// Takes the first whole frame off the buffer.
pub(super) fn pop_frame(buffer: &mut bytes::BytesMut) -> Option<(u8, bytes::Bytes)> {
    let (&kind, rest) = buffer.split_first()?;
    let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk::<4>()?)).ok()?;
    if buffer.len() < HEADER + length {
        return None;
    }
    let _ = buffer.split_to(HEADER);
    Some((kind, buffer.split_to(length).freeze()))
}

/// Milliseconds on CLOCK_BOOTTIME: it counts on while the machine is suspended.
pub fn boottime_millis() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map_or(u64::MAX, |now| {
        let millis = now.tv_sec().saturating_mul(1000).saturating_add(now.tv_nsec() / 1_000_000);
        u64::try_from(millis).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut sent = Vec::new();
        push_frame(&mut sent, OUTPUT, b"one\n");
        push_frame(&mut sent, OUTPUT, b"");
        push_frame(&mut sent, ENDED, b"{}");
        let mut received = bytes::BytesMut::new();
        let mut frames = Vec::new();
        for byte in sent {
            received.extend_from_slice(&[byte]);
            while let Some((kind, payload)) = pop_frame(&mut received) {
                frames.push((kind, payload.to_vec()));
            }
        }
        assert_eq!(frames, [(OUTPUT, b"one\n".to_vec()), (OUTPUT, Vec::new()), (ENDED, b"{}".to_vec())]);
        assert!(received.is_empty());
    }
}
