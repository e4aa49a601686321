//! Which process did something, told in a way that another one on the same machine can look up.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process. Two are equal only if they are the same: a number that is used again has another start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Owner {
    /// The run of the machine (`/proc/sys/kernel/random/boot_id`).
    boot_id: String,
    /// What its number counts in: containers have their own.
    pid_namespace: String,
    pid: u32,
    /// In clock ticks since the machine started.
    started: u64,
}

impl Owner {
    /// This process; `None` where there is no `/proc` to tell.
    pub fn this_process() -> Option<Self> {
        let pid = std::process::id();
        Some(Self { boot_id: boot_id()?, pid_namespace: pid_namespace()?, pid, started: started(pid)? })
    }

    /// Whether the process still runs. `None` where that can't be told: on another machine, or from another container.
    pub fn is_alive(&self) -> Option<bool> {
        let can_tell = boot_id()? == self.boot_id && pid_namespace()? == self.pid_namespace;
        can_tell.then(|| started(self.pid) == Some(self.started))
    }
}

fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

fn pid_namespace() -> Option<String> {
    Some(fs::read_link("/proc/self/ns/pid").ok()?.to_str()?.to_owned())
}

/// `None`: there is no such process. One that has ended and that nobody has waited for is none any more.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have anything in it but ends at the last bracket (proc_pid_stat(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_it_has_ended_and_not_before() {
        let own = Owner::this_process().unwrap();
        assert_eq!(own.is_alive(), Some(true));
        let other = Owner { started: own.started + 1, ..own.clone() };
        assert_eq!(other.is_alive(), Some(false), "its number is another's now");
        assert_eq!(Owner { boot_id: "another".to_owned(), ..own.clone() }.is_alive(), None);
        assert_eq!(Owner { pid_namespace: "pid:[1]".to_owned(), ..own.clone() }.is_alive(), None);

        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let other = Owner { pid: child.id(), started: started(child.id()).unwrap(), ..own };
        assert_eq!(other.is_alive(), Some(true));
        child.kill().unwrap();
        // Nobody has waited for it, so it is still listed.
        while !fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        assert_eq!(other.is_alive(), Some(false));
        child.wait().unwrap();
        assert_eq!(other.is_alive(), Some(false));
    }
}
