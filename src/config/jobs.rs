//! `[jobs.RESOURCE]`: when each resource is synced.

use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::{Schedule, Timezone, duration};
use crate::allai::Resource;

/// When each resource is synced.
// No serde defaults: they come from figment's layer of defaults, so that a table in the file may set one key and keep its
// own resource's others.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_required)]
pub struct Jobs {
    /// The job that syncs the contacts.
    pub contacts: Job,
    /// The job that syncs the conversations.
    pub conversations: Job,
    /// The job that syncs the messages of conversations that are new, active or changed.
    pub messages: Job,
    /// The job that captures the analytics reports.
    pub analytics: Job,
}

/// When one resource is synced.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = without_required)]
pub struct Job {
    /// False: never by itself, only by `allai-sync sync`.
    pub enabled: bool,
    /// When to fetch what is new: cron with seconds, or five fields without.
    pub schedule: Schedule,
    /// The IANA time zone that the schedules are in.
    pub timezone: Timezone,
    /// When to sweep everything and verify it, which alone notices deletions. Analytics have no sweep:
    /// there it is one more time to capture them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_schedule: Option<Schedule>,
    /// How long after its moment a run may begin, so that not everybody asks AllAI at the same second; never more than a
    /// tenth of the time to the next one.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub jitter: Duration,
}

impl Default for Jobs {
    fn default() -> Self {
        // The full sweeps follow each other through the night; messages come after the conversations they belong to.
        Self {
            contacts: Job::at("0 */15 * * * *", Some("0 30 2 * * *")),
            conversations: Job::at("0 */5 * * * *", Some("0 0 3 * * *")),
            messages: Job::at("30 */5 * * * *", Some("0 30 3 * * *")),
            analytics: Job::at("0 15 5 * * *", None),
        }
    }
}

impl Job {
    fn at(schedule: &str, full_schedule: Option<&str>) -> Self {
        let read = |text: &str| text.parse::<Schedule>().expect("the default schedules are valid");
        Self {
            enabled: true,
            schedule: read(schedule),
            timezone: Timezone::default(),
            full_schedule: full_schedule.map(read),
            jitter: Duration::from_secs(10),
        }
    }
}

impl Jobs {
    /// The job of a resource.
    pub const fn get(&self, resource: Resource) -> &Job {
        match resource {
            Resource::Contacts => &self.contacts,
            Resource::Conversations => &self.conversations,
            Resource::Messages => &self.messages,
            Resource::Analytics => &self.analytics,
        }
    }
}

/// What has a default need not be in the file, which the schema describes.
fn without_required(schema: &mut Schema) {
    schema.remove("required");
}
