//! [`Process`], what the system says of a running process.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::failure::{Failure, cannot};
use crate::machine::field;

/// A process, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

impl From<Process> for Pid {
    fn from(process: Process) -> Self {
        Self::from_raw(process.0.cast_signed())
    }
}

impl Process {
    /// The time that its threads have used a processor so far, those that have ended included: its clock of
    /// `clock_getcpuclockid(3)`, which is exact where `/proc/PID/stat` counts in hundredths of a second.
    pub fn cpu(self) -> Result<Duration, Failure> {
        let time = ClockId::pid_cpu_clock_id(self.into())
            .and_then(ClockId::now)
            .map_err(io::Error::from)
            .map_err(cannot(format!("read the CPU clock of process {}", self.0)))?;
        Ok(time.into())
    }

    /// The memory that is in RAM now, in bytes: `VmRSS` of proc(5), code that is mapped from the binary
    /// included.
    pub fn resident_memory(self) -> Result<u64, Failure> {
        self.memory("VmRSS")
    }

    /// The most that was in RAM at any time, in bytes: `VmHWM` of proc(5).
    pub fn peak_memory(self) -> Result<u64, Failure> {
        self.memory("VmHWM")
    }

    /// Whether it runs no more, even if nobody has asked for its status yet.
    pub fn has_ended(self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        field(&status, "State").is_none_or(|state| state.starts_with(['Z', 'X']))
    }

    fn memory(self, name: &str) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.0);
        let status = fs::read_to_string(&path).map_err(cannot(format!("read {path}")))?;
        let kibibytes: u64 = field(&status, name)
            .and_then(|value| value.strip_suffix(" kB")?.parse().ok())
            .ok_or_else(|| {
                cannot(format!("find {name} in {path}"))(io::ErrorKind::InvalidData.into())
            })?;
        Ok(kibibytes * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let this = Process(std::process::id());
        assert!(this.resident_memory().unwrap() <= this.peak_memory().unwrap());
        let before = this.cpu().unwrap();
        std::hint::black_box((0..1_000_000_u64).map(std::hint::black_box).sum::<u64>());
        assert!(this.cpu().unwrap() > before);
    }
}
