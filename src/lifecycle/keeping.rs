//! What this program says of the jobs it keeps, to the others on its warehouse.

use crate::allai::Resource;
use crate::app;
use crate::config::{Config, LoadOptions};
use crate::schedule::Holder;
use crate::warehouse::{Error, Keeper, Warehouse};

/// How this program is known to the others.
pub(super) fn keeper(holder: &Holder, source: &LoadOptions) -> Keeper {
    Keeper {
        keeper: holder.as_str().to_owned(),
        source: path_of(source),
    }
}

/// Notes which jobs a configuration has this program keep. Another one that read the same configuration and is dead was this
/// one before it was started again; beside one that is `alone`, none keeps anything.
pub(super) async fn keep(warehouse: &Warehouse, by: &Keeper, config: &Config, alone: bool) -> Result<(), Error> {
    let was_this =
        |other: &Keeper| !by.source.is_empty() && other.source == by.source && Holder::is_dead(&other.keeper);
    let known = warehouse.keepers().await?.into_iter();
    let gone = known.filter(|other| alone || was_this(other)).map(|other| other.keeper);
    let plans = app::plans(config);
    let jobs: Vec<(&str, Resource)> = plans
        .iter()
        .map(|plan| (plan.account.as_str(), plan.resource))
        .collect();
    warehouse.keep_jobs(by, &jobs, &gone.collect::<Vec<String>>()).await
}

/// Where a configuration is read from; nothing if it is all in the environment.
fn path_of(source: &LoadOptions) -> String {
    let path = source
        .path
        .as_ref()
        .or_else(|| source.search.iter().find(|path| path.exists()));
    path.map_or_else(String::new, |path| {
        std::path::absolute(path).as_ref().unwrap_or(path).display().to_string()
    })
}
