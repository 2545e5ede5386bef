//! Who claims a job.

use std::fmt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::warehouse::JobState;

/// The name under which a program claims jobs: `run@web1:4711.51c0ffee#b9f1d0c2`. It says which program it is, on which host and
/// with which process id, and a random number that makes it unlike any other; the last part is a digest of the boot and of
/// the namespace that the process id belongs to, so that another program there can tell whether it still lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(String);

impl Holder {
    /// A new name. `role` is what the program was started as, such as `run`.
    pub fn new(role: &str) -> Self {
        // A service may not see the first, and a container not have the second.
        let names = ["/proc/sys/kernel/hostname", "/etc/hostname"].map(std::fs::read_to_string);
        let host = names.into_iter().find_map(Result::ok).unwrap_or_default();
        let host = match host.trim() {
            "" => "localhost",
            host => host,
        };
        Self(format!(
            "{role}@{host}:{}.{:08x}#{}",
            std::process::id(),
            rand::random::<u32>(),
            home()
        ))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of this program and of those that hold jobs and are dead.
    pub(crate) fn dead_or(&self, jobs: &[JobState]) -> Vec<String> {
        let holders = jobs.iter().filter_map(|job| Some(job.held.as_ref()?.holder.as_str()));
        let dead = holders.filter(|holder| Self::is_dead(holder));
        dead.chain([self.as_str()]).map(str::to_owned).collect()
    }

    /// Whether the program of that name is known to be dead, because its process would have to be seen from here.
    pub fn is_dead(name: &str) -> bool {
        let Some((rest, its_home)) = name.rsplit_once('#') else {
            return false;
        };
        let id = rest
            .rsplit_once(':')
            .and_then(|(_, id)| id.split_once('.')?.0.parse::<u32>().ok());
        let own = home();
        match id {
            // Where the first process is hidden, others may be.
            Some(id) if own == its_home && own != UNKNOWN && Path::new("/proc/1").exists() => {
                !Path::new("/proc").join(id.to_string()).exists()
            }
            _ => false,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where process ids cannot be told apart.
const UNKNOWN: &str = "-";

/// Within what process ids are unique: a boot of a machine, and a namespace of process ids there (proc(5),
/// `/proc/sys/kernel/random/boot_id`; namespaces(7)).
fn home() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    let (Ok(boot), Ok(namespace)) = (boot, namespace) else {
        return UNKNOWN.to_owned();
    };
    let mut digest = Sha256::new();
    digest.update(boot.trim());
    digest.update(namespace.as_os_str().as_encoded_bytes());
    hex::encode(&digest.finalize()[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_to_be_dead_only_where_its_process_would_be_seen() {
        let own = Holder::new("run");
        assert!(!Holder::is_dead(own.as_str()), "{own}");
        // Process ids end below 4,194,304 (proc(5), pid_max).
        let (rest, home) = own.as_str().rsplit_once('#').unwrap();
        let (host, _) = rest.rsplit_once(':').unwrap();
        assert!(Holder::is_dead(&format!("{host}:4194305.1#{home}")));
        for elsewhere in [
            "run@web1:4194305.1#00000000",
            "run@web1:4194305.1",
            "run",
            "",
            "#",
            ":#",
        ] {
            assert!(!Holder::is_dead(elsewhere), "{elsewhere}");
        }
    }
}
